// How the page reaches the program behind it: requests to its server, or messages of a widget's model.

/** Make an Error of an answer that refuses; `exists`: files are there already. */
const refusal = ({ error, exists }) => Object.assign(new Error(error), { exists: exists === true });

/** The command's server. */
export function serverLink() {
  async function ask(name, content) {
    const options = content === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
    };
    let answer;
    try {
      answer = await fetch(name, options);
    } catch {
      throw new Error("the command does not answer: it has ended. Start it again.");
    }
    const found = await answer.json();
    if (answer.ok) return found;
    throw refusal(found);
  }

  async function plane(name) {
    const answer = await fetch(`plane/${name}`);
    if (!answer.ok) throw new Error(`${name}: cannot be shown`);
    return answer.arrayBuffer();
  }

  return { ask, plane, keep: null };
}

/** The kernel of a notebook. It also keeps what is set, so that Python can read it back. */
export function widgetLink(model) {
  const asked = new Map(); // number of a request -> what waits for its answer
  const view = Math.random().toString(36).slice(2); // a model can be shown twice
  const hear = (message, buffers) => {
    const waiting = asked.get(message.id);
    if (!waiting) return;
    asked.delete(message.id);
    if (message.error !== undefined) waiting.refuse(refusal(message));
    else waiting.give(buffers?.length ? bytesOf(buffers[0]) : message.answer);
  };
  model.on("msg:custom", hear);
  let number = 0;
  const ask = (name, content = {}) => new Promise((give, refuse) => {
    const id = `${view}-${++number}`;
    asked.set(id, { give, refuse });
    model.send({ id, name, content });
  });
  return {
    ask,
    plane: (name) => ask(`plane/${name}`),
    keep: (content) => ask("keep", content),
    end: () => model.off("msg:custom", hear),
  };
}

/** The bytes of a view as an ArrayBuffer of its own. */
function bytesOf(data) {
  if (data instanceof ArrayBuffer) return data;
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}
