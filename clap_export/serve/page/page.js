const answer = await fetch("v1/space");
const space = await answer.json();
document.getElementById("model").textContent = answer.ok ? space.model : space.error.message;
