// The filter. Without it the page shows everything.
const form = document.getElementById("filter"), [text, wrong] = form.querySelectorAll("input");
const rows = [...document.querySelectorAll("[data-row]")].map(node => ({
  node, said: node.textContent.toLowerCase(), wrong: /bad|warn/.test(node.dataset.row), counts: node.localName === "tr"}));
const agents = [...document.querySelectorAll("details")];
const opened = agents.map(agent => agent.open);
function filter() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean), on = words.length > 0 || wrong.checked;
  let shown = 0;
  for (const row of rows) {
    row.node.hidden = (wrong.checked && !row.wrong) || !words.every(word => row.said.includes(word));
    shown += row.counts && !row.node.hidden;
  }
  agents.forEach((agent, number) => {
    agent.hidden = on && !agent.querySelector("tbody > tr:not([hidden])");
    agent.open = on ? !agent.hidden : opened[number];
  });
  form.querySelector("output").value = on ? `${shown} instance${shown === 1 ? "" : "s"}` : "";
}
form.addEventListener("input", filter);
form.addEventListener("submit", event => event.preventDefault());
form.hidden = false;
filter();
