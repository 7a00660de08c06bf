// Lists what a wasm module imports, by name of module; fails on `env`, where C libraries and
// forgotten system calls show.

import { readFileSync } from "node:fs";

for (const path of process.argv.slice(2)) {
  const module = new WebAssembly.Module(readFileSync(path));
  const modules = [...new Set(WebAssembly.Module.imports(module).map((it) => it.module))];
  console.log(`${path}: imports from ${modules.join(", ") || "nowhere"}`);
  if (modules.includes("env")) {
    process.exitCode = 1;
  }
}
