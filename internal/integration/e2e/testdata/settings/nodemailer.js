// Sends with Nodemailer. Arguments: the snippet, which is JavaScript or a URL,
// the sender, and the directory of node_modules.
const fs = require("fs");
const nodemailer = require(process.argv[4] + "/nodemailer");

const text = fs.readFileSync(process.argv[2], "utf8");
const make = text.includes("createTransport") ? text + "\nreturn transport;" : "return nodemailer.createTransport(" + JSON.stringify(text) + ");";
new Function("nodemailer", make)(nodemailer)
  .sendMail({ from: process.argv[3], to: "you@example.com", subject: "test", text: "Hello" })
  .catch((err) => {
    console.error(err.message);
    process.exitCode = 1;
  });
