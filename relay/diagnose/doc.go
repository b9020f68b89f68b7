// Package diagnose tries a connection to a relay as a tool would, and says in plain
// words how far it gets and what to do:
//
//	for _, step := range diagnose.Check(ctx, diagnose.Target{Host: "smtp.example.com", Username: u, Password: p, From: from}) {
//		fmt.Println(step.Name, step.OK, step.Detail, step.Advice)
//	}
//
// It is for the page on which customers connect their tools, and for operators. It
// sends no message: it ends after MAIL, which the server forgets.
//
// Check sees the way from where it runs, not the customer's firewall. Call it only
// with hosts and ports of your own: a page that lets visitors choose them lets them
// scan ports.
package diagnose
