const fs = require("fs");
const nodemailer = require("nodemailer");

const s = JSON.parse(fs.readFileSync(0, "utf8"));
const transport = nodemailer.createTransport({
  host: s.server,
  port: s.port,
  secure: s.implicit_tls,
  requireTLS: true,
  tls: { ca: fs.readFileSync(s.certificate) },
  auth: { user: s.username, pass: s.password },
});
const attachments = [];
if (s.attachment) {
  attachments.push({ filename: "data.bin", content: Buffer.from(s.attachment, "base64") });
}
transport
  .sendMail({
    envelope: { from: s.from, to: s.to },
    from: s.header_from,
    to: s.to,
    subject: s.subject,
    text: s.text,
    attachments,
  })
  .then((info) => console.log(info.response))
  .catch((err) => {
    console.error(err.message);
    process.exitCode = 1;
  });
