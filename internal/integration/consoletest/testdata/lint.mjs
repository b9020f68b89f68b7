// Lints openapi.json in the working directory and prints what it finds. These rules do
// not fit: the product that embeds the console has its own licence and its own way to
// sign in, and the server is the folder that has openapi.json.
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { readFileSync } from "node:fs";

const config = await createConfig({
  extends: ["recommended"],
  rules: { "info-license": "off", "security-defined": "off", "no-server-trailing-slash": "off" },
});
const problems = await lintFromString({ source: readFileSync("openapi.json", "utf8"), absoluteRef: "openapi.json", config });
for (const p of problems) console.log(p.ruleId, p.message, p.location[0]?.pointer);
process.exit(problems.length ? 1 : 0);
