// Fetches the page again every two seconds and exchanges what lives: tables, cards, bulletin.
// Not while a button is being pressed or has the focus: exchanging it would lose the click.

"use strict";

const PAUSE = 2000;

async function refresh() {
  const live = document.getElementById("live");
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (live.matches(":active, :focus-within")) return;
  live.replaceWith(fresh.getElementById("live"));
}

async function keepFresh() {
  try {
    if (!document.hidden) await refresh();
  } catch {
    // The server is away; the next try may find it.
  }
  setTimeout(keepFresh, PAUSE);
}

setTimeout(keepFresh, PAUSE);
