// Package console serves the screens on which a tenant manages its domains and
// SMTP users in a browser: an [http.Handler] for the embedding product to mount
// in its own administration, at any path.
//
//	h := &console.Handler{
//		Credentials: creds, // the Manager that the relay has
//		SMTPHost:      "smtp.example.com",
//		Tenant: func(r *http.Request) (store.TenantID, error) {
//			return sessions.Customer(r) // who the visitor is: the product knows
//		},
//	}
//	mux.Handle("/smtp/", http.StripPrefix("/smtp", h))
//
// A visitor sees and changes what belongs to the tenant that the Tenant function
// names, and nothing else: what belongs to another answers as if it didn't
// exist. Whoever may open the pages may do everything on them, so the product
// lets only those through who may.
//
// # What it sends and keeps
//
// A password is in the one response that follows from adding a user or from a
// reset, and nowhere else: in no URL, cookie, log line or memory of the server.
// When the browser sends such a request again (a reload, the back button, a
// double click, a lost connection), the answer says so and has no password: the
// form to add a user carries a random key, from which the username is made, and
// the form to reset carries the number of the password that is to be replaced.
// Both are checked by the store, so this holds on any number of nodes and over
// restarts, and nothing is remembered for it.
//
// Pages and documents forbid caching, framing and content from other hosts; of the
// last two, ContentSecurityPolicy in [Handler] may say otherwise. The style sheet,
// the script and openapi.json are the same for everybody and may be cached. No
// request leaves the host. GET changes nothing; requests from other sites that
// would change something are refused, by the headers that browsers set (see
// [http.CrossOriginProtection]): a proxy in front must keep the Host header. The
// pages work without JavaScript; only copying, and the question before leaving an
// uncopied password by anything but its button, need it.
//
// # Programs
//
// The same paths answer JSON to requests with "Accept: application/json", for
// products with a front end of their own. The file openapi.json, which is served
// beside the pages, describes this interface. Errors are
// application/problem+json (RFC 9457).
//
// # Inside a page of your own
//
// [Handler].Layout puts the console into a page. The style sheet is below the
// class gatepost, and all classes, ids and data attributes begin with gatepost.
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
//	--gatepost-link                            links (text colour)
//	--gatepost-text, --gatepost-quiet          text, less important text
//	--gatepost-line, --gatepost-edge           lines, edges of fields and buttons
//	--gatepost-tint                            background of notices
//	--gatepost-field                           background of fields (transparent)
//	--gatepost-surface, --gatepost-on-surface  menus and dialogs, and the text on them
//	--gatepost-radius                          radius of corners (0.5em)
//	--gatepost-font, --gatepost-mono           fonts
//
// [Handler].Accent sets the accent colour in a shade for light pages and one for
// dark pages that can both be read; --gatepost-accent is used as it is.
//
// # Languages
//
// Pages come in English and in French, as Accept-Language asks. Each language is
// one file in the folder lang.
//
// # Tests with real parts
//
// The screens are tested in a browser in internal/integration/consoletest.
package console
