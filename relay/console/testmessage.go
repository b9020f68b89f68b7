package console

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// A testForm is the data of the template "test-form".
type testForm struct {
	*request
	Action   string // address of the form
	From, To string
	Key      string // makes a form that is sent twice send one message
	Error    string
	Aside    bool // the page must not be left: without the script the form opens another tab
}

// Test returns the form for a test message of a user; nil if there is none.
func (req *request) Test(u store.User, aside bool) *testForm {
	if req.h.Server == nil || !req.May(SendTest) {
		return nil
	}
	f := &testForm{request: req, Action: req.User(u, "test"), From: testSender(u), Key: rand.Text(), Aside: aside}
	if req.h.TestRecipient != nil {
		f.To = req.h.TestRecipient(req.r)
	}
	return f
}

func testSender(u store.User) string { return "test@" + u.Domain }

type testData struct {
	User store.User
	Form *testForm
}

func (req *request) testPage() (response, error) {
	if req.h.Server == nil {
		return response{}, errNotFound
	}
	u, err := req.userOfPath()
	return req.testPageWith(http.StatusOK, u, req.Test(u, false)), err
}

func (req *request) testPageWith(status int, u store.User, f *testForm) response {
	return response{status: status, template: "test", title: req.T("test.title", u.Name), data: testData{u, f}}
}

func (req *request) sendTest() (response, error) {
	if req.h.Server == nil {
		return response{}, errNotFound
	}
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	to, key := strings.TrimSpace(req.inputs.Get("to")), req.inputs.Get("key")
	if req.asJSON {
		key = cmp.Or(req.r.Header.Get("Idempotency-Key"), rand.Text())
	}
	begin := relay.NewID()
	id, err := req.submitTest(u, to, key)
	var refused *problem
	if errors.As(err, &refused) && !req.asJSON {
		f := req.Test(u, false)
		f.To, f.Key, f.Error = to, cmp.Or(key, f.Key), req.T("problem."+refused.code+".detail", refused.args...)
		return req.testPageWith(refused.status, u, f), nil
	}
	if err != nil {
		return response{}, err
	}
	if !olderID(id, begin) {
		req.changed(Change{Action: SendTest, Domain: u.Domain, Username: u.Username, Object: id})
	}
	return response{status: http.StatusCreated, location: userPath(u, "test", id), document: testSentDocument{id}}, nil
}

// olderID reports whether a message ID was made before another one. IDs sort by time; of
// two that were made within 8 ms of each other neither is older. Submit returns such an
// ID if the form was sent before.
func olderID(id, than string) bool {
	const timePart = 9 // letters, 45 of the 48 bits
	return len(id) >= timePart && id[:timePart] < than[:timePart]
}

// submitTest sends the test message, and returns its ID.
func (req *request) submitTest(u store.User, to, key string) (string, error) {
	address, err := mail.ParseAddress(to)
	if err != nil {
		return "", &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "to", args: []string{req.T("reason.recipient")}}
	}
	id, err := req.h.Server.Submit(req.ctx(), relay.Submission{
		Identity: credentials.IdentityOf(u),
		From:     testSender(u),
		To:       []string{address.Address},
		Options:  relay.Options{UTF8: !mailtext.IsASCII(address.Address)},
		Content:  strings.NewReader(req.testContent(testSender(u), address.Address)),
		Key:      testKey(key, address.Address, req.lang.Code),
	})
	var list *relay.RefusedError
	if errors.As(err, &list) {
		err = list.Recipients[0].Err
	}
	var reply *relay.ReplyError
	if errors.As(err, &reply) && req.ctx().Err() == nil {
		return "", &problem{code: "not-sent", status: http.StatusUnprocessableEntity, field: "to", args: []string{reply.Text}}
	}
	return id, err
}

// testKey returns the key of a submission. A form that is sent again with another
// recipient is another message.
func testKey(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "console-test-" + hex.EncodeToString(sum[:])
}

// testContent returns the test message. It is the same for the same form, since a
// repeated submission must be.
func (req *request) testContent(from, to string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "From: <%s>\r\nTo: %s\r\nSubject: %s\r\n", from, (&mail.Address{Address: to}).String(), mime.QEncoding.Encode("utf-8", req.T("test.subject")))
	b.WriteString("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(req.T("test.body", req.Title()) + "\r\n"))
	w.Close()
	return b.String()
}

type sentData struct {
	User  store.User
	Mail  string
	Known bool              // something is known of the message
	Copy  history.Recipient // if Known
}

// Live reports whether more will happen to the message.
func (d sentData) Live() bool { return !d.Known || waits(d.Copy.State) }

// testSent shows what became of a test message, to a visitor who may send one or see all
// mail.
func (req *request) testSent() (response, error) {
	if !req.May(SendTest) && !req.May(ViewActivity) {
		return response{}, errNotAllowed
	}
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	d := sentData{User: u, Mail: req.pathValues["mail"]}
	if req.h.History != nil {
		err = req.readCopy(&d)
	}
	return response{template: "sent", title: req.T("test.title", u.Name), data: d, document: req.documentOfSent(d)}, err
}

// readCopy reads what happened to the message. For a second or two after it was
// accepted nothing is known.
func (req *request) readCopy(d *sentData) error {
	page, err := req.history().Mail(req.ctx(), d.Mail, store.RecipientFilter{Limit: 1})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil || len(page.Recipients) == 0 {
		return err
	}
	d.Known, d.Copy = true, page.Recipients[0]
	if d.Copy.Username != d.User.Username || d.Copy.From != testSender(d.User) {
		return errNotFound
	}
	return nil
}

type testSentDocument struct {
	ID string `json:"id"`
}

type testDocument struct {
	ID     string          `json:"id"`
	State  string          `json:"state"`
	Events []eventDocument `json:"events"`
}

func (req *request) documentOfSent(d sentData) testDocument {
	state := "unknown"
	if d.Known {
		state = req.Pill(d.Copy.State).Name
	}
	return testDocument{d.Mail, state, documentsOf(d.Copy.Events, documentOfEvent)}
}
