// Settings as a form, and small helpers for the page's elements.

/** What finds an element of the page by its id: a notebook may show several pages. */
export const finder = (root) => (id) => root.querySelector(`#${id}`);

/** A row of buttons of which one is chosen; arrow keys go along. */
export function choose(group, items, chosen, onChoice) {
  group.replaceChildren(...items.map(([value, label]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.dataset.value = value;
    button.setAttribute("role", "radio");
    return button;
  }));
  wireChoice(group, chosen, onChoice);
}

export function wireChoice(group, chosen, onChoice) {
  const buttons = [...group.querySelectorAll("[role=radio]")];
  const valueOf = (button) => button.dataset.value ?? button.dataset.tool;
  group.show = (value) => buttons.forEach((button) => {
    const on = valueOf(button) === String(value);
    button.setAttribute("aria-checked", on);
    button.tabIndex = on ? 0 : -1;
  });
  const take = (button) => {
    group.show(valueOf(button));
    onChoice(valueOf(button));
  };
  group.onclick = (event) => {
    const button = event.target.closest("[role=radio]");
    if (button) take(button);
  };
  group.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = buttons.at((buttons.indexOf(group.getRootNode().activeElement) + step) % buttons.length);
    next.focus();
    take(next);
  };
  group.show(chosen);
}

/** Name of a setting as people write it. */
const title = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

export class Form {
  constructor($, fields) {
    this.fields = fields;
    this.inputs = new Map();
    this.help = Object.assign(document.createElement("p"), { id: "setting-help", className: "hint" });
    for (const field of fields) {
      $(field.main ? "main-settings" : "more-settings").append(this.row(field));
      this.set(field.name, field.value);
    }
  }

  row(field) {
    const label = document.createElement("label");
    label.title = field.help;
    const name = document.createElement("span");
    name.textContent = title(field.name);
    const input = document.createElement(field.choices.length ? "select" : "input");
    if (field.choices.length) {
      const words = { true: "yes", false: "no", null: field.unset };
      for (const one of field.choices) input.add(new Option(words[one] ?? one, JSON.stringify(one)));
    } else if (field.kind === "number") {
      input.type = "number";
      input.step = field.whole ? 1 : "any";
      input.placeholder = field.optional ? field.unset : "";
    }
    input.name = field.name;
    input.oninput = () => this.mark(field);
    input.onfocus = () => {
      this.help.textContent = field.help[0].toUpperCase() + field.help.slice(1);
      label.after(this.help);
    };
    label.append(name, input);
    this.inputs.set(field.name, input);
    return label;
  }

  mark(field) {
    const changed = JSON.stringify(this.get(field)) !== JSON.stringify(field.default);
    this.inputs.get(field.name).parentElement.classList.toggle("changed", changed);
  }

  get(field) {
    const { value } = this.inputs.get(field.name);
    if (field.choices.length) return JSON.parse(value);
    if (field.kind !== "number") return value;
    if (value === "") return field.optional ? null : field.default;
    return Number(value);
  }

  set(name, value) {
    const field = this.fields.find((one) => one.name === name);
    const input = this.inputs.get(name);
    input.value = field.choices.length ? JSON.stringify(value) : (value ?? "");
    this.mark(field);
  }

  /** All values; an Error names the input that is no number. */
  values() {
    for (const [name, input] of this.inputs) {
      if (!input.checkValidity()) {
        input.focus();
        throw new Error(`${title(name)}: ${input.validationMessage}`);
      }
    }
    return Object.fromEntries(this.fields.map((field) => [field.name, this.get(field)]));
  }
}

/** Shortest text with enough digits. */
export function number(value) {
  if (!Number.isFinite(value)) return "missing";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}
