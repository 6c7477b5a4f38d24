// The pages need none of this. It offers the browser's own time zone, and looks again while counts can't be read.
"use strict";
const zones = document.getElementById("zone-name");
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zones && here && ![...zones.options].some((o) => o.value === here)) {
  zones.add(new Option(here, here), 0);
}
if ("stale" in document.body.dataset) {
  setInterval(async () => {
    const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer && answer.ok) location.reload();
  }, 5000);
}
