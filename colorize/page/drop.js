// Photographs into the program, one after the other, so that one that fails takes no other with it.
const zone = element.querySelector(".zone");
const input = element.querySelector("input");
const how = element.querySelector(".how");
const words = [...how.childNodes];
let busy = false;

async function take(files) {
  if (!input.multiple) files = files.slice(0, 1);
  if (busy || !files.length) return;
  busy = true;
  const taken = [];
  for (const [i, file] of files.entries()) {
    how.textContent = files.length > 1 ? `Taking ${i + 1} of ${files.length}: ${file.name}` : `Taking ${file.name}`;
    const one = {name: file.name};
    if (file.size > props.most) one.problem = `exceeds the size of ${props.most_told} that this page takes (--max-upload)`;
    else {
      try {
        one.path = (await upload(file)).path;
      } catch (error) {
        one.problem = `cannot be taken (${error.message || error})`;
      }
    }
    taken.push(one);
  }
  input.value = "";
  how.replaceChildren(...words);
  busy = false;
  trigger("taken", {files: taken});
}

input.addEventListener("change", () => take([...input.files]));
for (const kind of ["dragenter", "dragover"])
  zone.addEventListener(kind, event => { event.preventDefault(); zone.classList.add("over"); });
for (const kind of ["dragleave", "drop"])
  zone.addEventListener(kind, event => { event.preventDefault(); zone.classList.remove("over"); });
zone.addEventListener("drop", event => take([...event.dataTransfer.files]));
