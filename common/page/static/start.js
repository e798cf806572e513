// The page of a command: the document, and the server on this machine.

import { serverLink } from "./link.js";
import { Page } from "./page.js";

const page = new Page(document.body, serverLink(), window);
page.start().then(() => (document.title = `${page.state.name} – ${page.state.tool}`));
