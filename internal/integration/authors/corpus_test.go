package authors_test

import (
	"math/rand/v2"
	"strings"
)

// authorSeeds are From fields that some program once read in another way, and
// those that tools send.
var authorSeeds = []string{
	" shop@acme.example",
	" Shop <shop@acme.example>",
	" \"Shop, Inc.\" <shop@acme.example>",
	" \"ceo@evil.example\" <shop@acme.example>",
	" \"ceo@evil.example\r\n \" <shop@acme.example>",
	" \"<ceo@evil.example>\" <shop@acme.example>",
	" \"a\\\" <ceo@evil.example> \\\"\" <shop@acme.example>",
	" \"ceo@evil.example, x\" <shop@acme.example>",
	" shop@acme.example (ceo@evil.example)",
	" shop@acme.example (x\r\n , ceo@evil.example)",
	" shop@acme.example (a (b) \\) ceo@evil.example)",
	" shop@acme.example (<ceo@evil.example>)",
	" (ceo@evil.example) shop@acme.example",
	" Shop (ceo@evil.example) <shop@acme.example>",
	" <shop@acme.example> (, ceo@evil.example)",
	" shop@acme.example <shop@acme.example>",
	" shop@acme.example,\"ceo@evil.example\"group: ;",
	" \"ceo@evil.example\": shop@acme.example;",
	" group: \"ceo@evil.example\" <shop@acme.example>;",
	" \"ceo@evil.example x\"@acme.example",
	" \"ceo@evil.example> x\"@acme.example",
	" \"the shop\"@acme.example",
	" shop@acme.example\u00a0",
	" shop@acme.example\u2028ceo@evil.example",
	" =?UTF-8?B??= <shop@acme.example>",
	" =?utf-8?q?Caf=C3=A9,_Inc.?= <shop@acme.example>",
	" =?utf-8?q?Caf=C3=A9_(Nord)?= <shop@acme.example>",
	" =?utf-8?q?ceo=40evil.example?= <shop@acme.example>",
	" =?utf-8?q?ceo=40evil.example=2C?= <shop@acme.example>",
	" =?utf-8?q?ceo=40evil.example=00?=@acme.example",
	" < shop@acme.example >",
	" <@evil.example:shop@acme.example>",
	" shop@acme.example, other@acme.example",
	" Shops: shop@acme.example, other@acme.example;",
	",, shop@acme.example,,",
	" !#$%&'*+/=?^_`{|}~-@acme.example",
}

// The parts that makeAuthor joins. Most mailboxes are of acme.example, and nearly
// every part around them may hold another address.
var (
	authorMailboxes = []string{
		"shop@acme.example", "<shop@acme.example>", "< shop@acme.example >", "shop@acme.example <shop@acme.example>",
		"Shop@ACME.example", "\"the shop\"@acme.example", "\"shop\"@acme.example", "büro@acme.example", "a.b+c@acme.example",
		"ceo@evil.example", "<ceo@evil.example>", "\"ceo@evil.example\"@acme.example", "<@evil.example:shop@acme.example>",
		"=?utf-8?q?ceo=40evil.example?=@acme.example", "ceo@evil.example@acme.example", "ceo%evil.example@acme.example",
		"evil.example!ceo@acme.example", "!#$%&'*+/=?^_`{|}~-@acme.example",
	}
	authorNames = []string{
		"", "Shop", "Dr. Who", "O'Hara", "Café", "\"\"", "\"Shop, Inc.\"", "\"ceo@evil.example\"", "\"<ceo@evil.example>\"", "\"ceo@evil.example,\"",
		"\", ceo@evil.example, \"", "\"x\\\"\"", "\"\\\\\"", "\"\\\" <ceo@evil.example>\"", "\"(ceo@evil.example\"", "\")ceo@evil.example(\"",
		"\"a:ceo@evil.example;\"", "\"[ceo@evil.example]\"", "\"ceo@evil.example\\\\\"", "\"ceo\\@evil.example\"", "\"=?utf-8?q?ceo=40evil.example?=\"",
		"=?utf-8?q?ceo=40evil.example?=", "=?utf-8?q?ceo=40evil.example=3E?=", "=?utf-8?b?Y2VvQGV2aWwuZXhhbXBsZSwg?=", "=?UTF-8?B??=",
		"=?utf-8?q?a,b?=", "=?utf-8?q?a(b?=", "=?utf-8?q?a)b?=", "=?utf-8?q?a;b:c?=", "=?utf-8?q?a[b]?=", "=?utf-8?q?a?==?utf-8?q?b?=", "ceo", "evil.example",
	}
	authorComments = []string{
		"(x)", "(ceo@evil.example)", "(<ceo@evil.example>)", "(, ceo@evil.example)", "(a (b) c)", "((ceo@evil.example))", "(\\) ceo@evil.example)",
		"(\\( ceo@evil.example)", "(\" ceo@evil.example)", "(\")\"ceo@evil.example)", "(a; ceo@evil.example)", "(a: ceo@evil.example;)", "(=?utf-8?q?x?=)", "()",
	}
	authorBlanks = []string{"", "", " ", " ", " ", "  ", "\t", "\r\n ", "\r\n\t", "\u00a0", "\u2003"}
	authorJunk   = []string{
		"\"", "\\", "(", ")", "<", ">", ",", ";", ":", "@", ".", "[", "]", "\r\n ", " ", "\t", "\u00a0", "\u2028", "\u0085", "\u200b", "=?", "?=", "ceo@evil.example",
		"shop@acme.example", "\"ceo@evil.example\"", "(ceo@evil.example)", "<ceo@evil.example>", ", ceo@evil.example", "\\\"", "\x00", "\x7f", "\xff", "é", "x", "%", "!",
	}
)

func pick(rng *rand.Rand, from []string) string { return from[rng.IntN(len(from))] }

// makeAuthor returns a value of From: mailboxes with names and comments around
// them, changed in a few places.
func makeAuthor(rng *rand.Rand) string {
	var mailboxes []string
	for range 1 + rng.IntN(2)*rng.IntN(3) {
		var parts []string
		for range rng.IntN(3) {
			parts = append(parts, pick(rng, authorNames))
			if rng.IntN(5) == 0 {
				parts = append(parts, pick(rng, authorComments))
			}
		}
		mailbox := pick(rng, authorMailboxes)
		if len(parts) > 0 && mailbox[0] != '<' && rng.IntN(4) > 0 {
			mailbox = "<" + mailbox + ">"
		}
		parts = append(parts, mailbox)
		for rng.IntN(4) == 0 {
			parts = append(parts, pick(rng, authorComments))
		}
		var text strings.Builder
		for _, part := range parts {
			text.WriteString(part)
			text.WriteString(pick(rng, authorBlanks))
		}
		mailboxes = append(mailboxes, text.String())
	}
	value := strings.Join(mailboxes, pick(rng, []string{",", ", ", ",\r\n ", ";", " "}))
	if rng.IntN(8) == 0 {
		value = pick(rng, authorNames) + ":" + value + ";"
	}
	for rng.IntN(3) == 0 {
		value = mutate(rng, value)
	}
	return " " + value
}

// mutate adds, removes or copies a piece of the value.
func mutate(rng *rand.Rand, value string) string {
	at := rng.IntN(len(value) + 1)
	end := min(len(value), at+1+rng.IntN(6))
	switch rng.IntN(4) {
	case 0:
		return value[:at] + value[end:]
	case 1:
		return value[:end] + value[at:]
	default:
		return value[:at] + pick(rng, authorJunk) + value[at:]
	}
}
