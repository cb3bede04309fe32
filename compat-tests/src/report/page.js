const open = () => {
  const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (at && at.tagName === 'DETAILS') { at.open = true; at.scrollIntoView(); }
};
addEventListener('hashchange', open);
open();
document.getElementById('only').addEventListener('input', e => {
  for (const row of document.querySelectorAll('tr.task')) {
    row.hidden = !row.textContent.includes(e.target.value);
  }
});
