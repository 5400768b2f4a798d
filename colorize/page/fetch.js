// A file that was made goes to the browser's downloads: props.value is {url, name, number}.
watch("value", () => {
  if (!props.value?.url) return;
  const link = document.createElement("a");
  link.href = props.value.url;
  link.download = props.value.name;
  link.click();
});
