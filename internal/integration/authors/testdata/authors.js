// Reads values of a From field, one a line in base64. Answers each with one line
// of JSON: the addresses that every way of reading finds.
const readline = require('readline');
const nodemailer = require('nodemailer/lib/addressparser');
const addressparser = require('addressparser');
const emailAddresses = require('email-addresses');

// flat returns the addresses of a list that may have groups.
function flat(list, group) {
  return (list || []).flatMap((entry) => (entry[group] ? flat(entry[group], group) : [entry.address || '']));
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const text = Buffer.from(line, 'base64').toString('utf8');
  const forms = { CRLF: text, LF: text.replaceAll('\r\n', '\n'), unfolded: text.replaceAll('\r\n', '') };
  const answers = {};
  for (const [name, form] of Object.entries(forms)) {
    answers['nodemailer ' + name] = flat(nodemailer(form), 'group');
    answers['addressparser ' + name] = flat(addressparser(form), 'group');
    answers['email-addresses ' + name] = flat(emailAddresses.parseAddressList({ input: form, rfc6532: true }), 'addresses');
    answers['email-addresses from ' + name] = flat(emailAddresses.parseFrom({ input: form, rfc6532: true }), 'addresses');
  }
  console.log(JSON.stringify(answers));
});
