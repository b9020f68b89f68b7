// Package console serves the web pages of the relay. On those of a [Handler] your
// customers manage domains and SMTP users, and see whether their tools connect, which
// DNS record is missing, what became of their mail, and how much of a limit is left. On
// those of an [Operator] the people who run the relay see and change the mail of all
// tenants. Both are an [http.Handler] that you mount in your own administration, at any
// path:
//
//	h := &console.Handler{
//		Credentials: creds, // the Manager of the relay
//		SMTPHost:    "smtp.example.com",
//		Tenant: func(r *http.Request) (store.TenantID, error) {
//			return sessions.Customer(r) // the customer who is signed in
//		},
//	}
//	mux.Handle("/smtp/", http.StripPrefix("/smtp", h))
//
// Further fields add screens: see [Part] and the sections below. docs/console.md has
// pictures of them.
//
// A visitor sees and changes only what belongs to the tenant that the Tenant
// function returns. Domains and users of other tenants get the same answer as ones
// that do not exist. A visitor who may open the pages may do everything on them,
// unless [Handler].May says otherwise. [Handler].OnChange is told who did what.
//
// # Passwords
//
// A password is in the one response to adding a user or resetting a password. It
// is not in a URL, a cookie, a log line or the memory of the server.
//
// A browser may send such a form again: after a reload, the back button, a double
// click or a lost connection. The answer then says so and has no password. The
// form to add a user has a random key, from which the username is made. The form
// to reset has the generation of the password that it replaces. The store checks
// both, so this holds on any number of nodes and after a restart.
//
// The pages offer settings for common tools. With them, a tool does not send the
// password without TLS, even if an attacker removes STARTTLS from the server's
// offer. Symfony Mailer before version 7.3 cannot require STARTTLS; it is safe if
// the TLS port is offered.
//
// # DNS records and limits
//
// With [Handler].Domains, the page of a domain has the DNS records that its owner
// publishes, what was found instead, and what to do. With [Handler].Limits, each page
// has a bar for each limit, with words.
//
// # Activity and statistics
//
// With [Handler].History, visitors see what became of each recipient of their mail and what
// was refused, in plain words and in the words of the servers, and counts of a period
// with a chart. Days are those of [Design].Location. With [Handler].Queue, they can have
// mail that waits tried at once, and cancel it.
//
// # HTTP
//
// Responses forbid caching. Pages also forbid framing and content of other hosts,
// with a Content-Security-Policy that has a new nonce for each response. If a
// handler around the console has set that header or Referrer-Policy, it stays; Vary
// is added to. The style sheet, the script and openapi.json are the same for all
// visitors and may be cached. The console requests nothing from other hosts.
//
// GET changes nothing. A request from another site that would change something is
// refused by the headers that browsers set; see [http.CrossOriginProtection] and
// TrustedOrigins in [Handler]. A proxy in front must keep the Host header.
//
// The pages work without JavaScript, except for copying and for the question before
// a visitor leaves a password that was not copied.
//
// # What a tool does
//
// The page that shows a password, and the page of each user, say how far the tool gets:
// it waits for the first connection, it is connected, or what was refused and what to
// do. The script asks the server again while the page is visible, with pauses of 1.5 to
// 15 seconds, until a message was accepted or 15 minutes have passed. Without the script
// there is a link. Set [Handler].History to show refusals; it gets them from
// History.OnRelayEvent, and while History.Run works they show within three seconds.
// A client that neither logs in nor tries to is not seen: after two minutes the page says
// what to check.
//
// With [Handler].Server a visitor sends a test message in the name of a user, without its
// password, and sees its delivery step by step. A visitor who may pause a user ends only
// pauses made here: a suspension by [credentials.Tenant.SuspendUser] with another reason
// stays, even if it is set at the same time, and the pages say to contact support.
//
// # Suppressions and webhooks
//
// [Handler].Suppressions adds the list of addresses that mail is not sent to. Each has a
// page with the cause in plain words, the server's words, and whether it helps to remove
// it. A file of the list has all of it; a visitor who may see the list may download it.
//
// [Handler].Webhooks adds the endpoints that events are sent to. A secret is in the one
// response that made it, as a password is. A form that is sent twice adds one endpoint,
// and makes one new secret. A test waits for the endpoint's answer, up to the Timeout of the
// Sender (15 seconds), so the product's server must allow that long for a response.
//
// # JSON
//
// The same paths answer JSON to clients that send JSON or whose Accept header does
// not name text/html, for products with a front end of their own. The file
// openapi.json, which is served beside the pages, describes the interface. Errors
// are application/problem+json (RFC 9457); docs/problems.md describes each.
//
// # Inside a page of your own
//
// Layout of [Design] puts the console into a page. NoTabs leaves the links between the
// parts to it. The style sheet is below the class gatepost, and all classes, ids and
// data attributes begin with gatepost.
// Rules of the page do not apply inside the console, except with !important, and
// rules of the console do not apply outside it.
//
// The console takes its font, its text colour and its color-scheme from the page
// around it. A page that is dark should say so with "color-scheme: dark": buttons,
// menus and dialogs, which have a background of their own, are then dark too.
//
// These custom properties change the style. Set them on :root or on any element
// around the console.
//
//	--gatepost-accent, --gatepost-on-accent    buttons, and the text on them
//	--gatepost-danger, --gatepost-on-danger    buttons that delete; marks of errors
//	--gatepost-danger-text                     errors, links that delete (text colour)
//	--gatepost-good, --gatepost-wait           marks of what works, of what waits or is nearly used up
//	--gatepost-link                            links (text colour)
//	--gatepost-text, --gatepost-quiet          text, less important text
//	--gatepost-line, --gatepost-edge           lines, edges of fields and buttons
//	--gatepost-tint                            background of notices
//	--gatepost-field                           background of fields (transparent)
//	--gatepost-surface, --gatepost-on-surface  menus and dialogs, and the text on them
//	--gatepost-radius                          radius of corners (0.5em)
//	--gatepost-font, --gatepost-mono           fonts
//
// Accent of [Design] sets the accent colour in a shade for light pages and one for
// dark pages that can both be read; --gatepost-accent is used as it is.
//
// # Languages
//
// Pages are in English or French, as Accept-Language or [Design].Language asks. Each
// language is one file in the folder lang, and [Design].Texts adds others. Times
// are in UTC or in the zone that [Design].Location returns.
package console
