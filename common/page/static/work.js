// The jobs of the program behind the page: the work, saving, the run at full size.

const POLL_MS = 250;

export class Work {
  constructor(page) {
    this.page = page;
    const { $, state } = page;
    $("actions").classList.toggle("idle", !state.verb); // nothing to run: a line of text alone
    $("run").textContent = state.verb;
    $("run").title = state.about;
    $("run").onclick = () => this.run();
    $("save").onclick = () => this.save();
    $("full").onclick = () => this.runFull();
    $("cancel").onclick = () => this.attempt(async () => this.showJob(await page.link.ask("cancel", {})));
    $("to-settings").hidden = !Object.keys(state.stretched).length;
    $("to-settings").onclick = () => {
      page.form.set("objective", "original");
      for (const [id, name] of Object.entries(state.stretched)) page.form.set(name, page.slider(id));
      page.keepSoon();
      page.say("The fit uses this quantile and these thresholds, with the minimum as shadows.");
    };
  }

  /** Do something with the program; where files are there already, offer to replace them. */
  async attempt(action, again) {
    try {
      await action();
    } catch (error) {
      this.page.say(error.message, true);
      if (error.exists && again) this.offerReplace(again);
    }
  }

  offerReplace(again) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Replace" });
    button.onclick = again;
    this.page.$("status").append(button);
  }

  save(overwrite = false) {
    const { page } = this;
    return this.attempt(async () => {
      const { files } = await page.link.ask("save", page.content({ overwrite }));
      page.say(`Saved ${files.join(", ")}`);
    }, () => this.save(true));
  }

  runFull(overwrite = false) {
    const { page } = this, again = () => this.runFull(true);
    return this.attempt(async () => this.follow(await page.link.ask("full", page.content({ overwrite })), again), again);
  }

  run() {
    const { page } = this;
    return this.attempt(async () => this.follow(await page.link.ask("run", page.content())));
  }

  /** Show a job until it has ended, and then what it has made. */
  async follow(job, again) {
    const { page } = this;
    this.showJob(job);
    while (job.state === "running") {
      await new Promise((done) => setTimeout(done, POLL_MS));
      job = await page.link.ask("job");
      this.showJob(job);
    }
    if (job.state === "failed" && again && job.text.includes("--overwrite")) this.offerReplace(again);
    if (job.state === "done" && job.kind === "work") {
      page.state = await page.link.ask("state");
      const { view, state } = page;
      if (view.name === "input") view.name = state.views.some((one) => one.name === "result") ? "result" : view.name;
      await page.loadViews();
    }
  }

  showJob(job) {
    const { $ } = this.page;
    const running = job.state === "running";
    for (const id of ["run", "save", "full"]) $(id).disabled = running;
    $("cancel").hidden = $("progress").hidden = !running;
    $("progress").classList.toggle("unknown", job.done === null);
    $("progress").firstElementChild.style.width = job.done === null ? "" : `${100 * job.done}%`;
    if (job.done !== null) $("progress").setAttribute("aria-valuenow", Math.round(100 * job.done));
    else $("progress").removeAttribute("aria-valuenow");
    const text = job.text[0]?.toUpperCase() + job.text.slice(1);
    if (job.state !== "idle") this.page.say(running ? `${text}…` : job.text ? text : "Done", job.state === "failed");
  }
}
