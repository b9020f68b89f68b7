package credentials_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/gatepost-mail/gatepost/credentials"
)

// formats returns every verb with every flag of fmt, and unknown verbs.
func formats() []string {
	var all []string
	for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "#0", ".3", "30.10"} {
		for verb := 'A'; verb <= 'z'; verb++ {
			all = append(all, "%"+flags+string(verb))
		}
	}
	return all
}

// outputs returns what encoders print of a password and of values that contain
// one, and what fmt prints of them with the given formats.
func outputs(p credentials.Password, formats ...string) map[string]string {
	type holder struct {
		Public  credentials.Password
		Pointer *credentials.Password
		private credentials.Password
		nested  struct{ deep []credentials.Password }
	}
	h := holder{Public: p, Pointer: &p, private: p}
	h.nested.deep = []credentials.Password{p}
	out := make(map[string]string)
	values := map[string]any{
		"value": p, "pointer": &p, "holder": h, "pointer to holder": &h, "slice": []credentials.Password{p},
		"map": map[string]credentials.Password{"a": p}, "key": map[credentials.Password]int{p: 1},
		"any": []any{p}, "error": fmt.Errorf("login with %v failed", p),
	}
	for what, v := range values {
		for _, format := range formats {
			out[what+" "+format] = fmt.Sprintf(format, v)
		}
		var b bytes.Buffer
		fmt.Fprint(&b, v)
		fmt.Fprintln(&b, v)
		log.New(&b, "", 0).Print(v)
		for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
			slog.New(handler).Info("login", "password", v, slog.Group("group", "password", v), slog.Any("any", v))
		}
		for _, encode := range []func(any) error{json.NewEncoder(&b).Encode, xml.NewEncoder(&b).Encode, gob.NewEncoder(&b).Encode} {
			if err := encode(v); err != nil {
				fmt.Fprint(&b, err)
			}
		}
		if err := template.Must(template.New("").Parse("{{.}} {{printf `%v %q` . .}}")).Execute(&b, v); err != nil {
			fmt.Fprint(&b, err)
		}
		dump(&b, reflect.ValueOf(v), 0)
		out[what+" encoded"] = b.String()
	}
	out["String"] = p.String()
	return out
}

// dump prints a value as debugging tools do: it includes unexported fields and
// follows pointers.
func dump(w io.Writer, v reflect.Value, depth int) {
	if !v.IsValid() || depth > 8 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		dump(w, v.Elem(), depth+1)
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		if v.CanAddr() {
			c = v
		} else if v.CanInterface() {
			c.Set(v)
		}
		for i := range c.NumField() {
			f := c.Field(i)
			dump(w, reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem(), depth+1)
		}
	case reflect.Slice:
		for i := range v.Len() {
			dump(w, v.Index(i), depth+1)
		}
	default:
		fmt.Fprintf(w, "%v\n", v)
	}
}

func TestPasswordIsNeverPrinted(t *testing.T) {
	const text = "J5WQ7ZTN2SECRETKX4YB3HOQRA"
	for how, shown := range outputs(credentials.NewPassword(text), formats()...) {
		for _, leak := range []string{text, strings.ToLower(text), fmt.Sprintf("%x", text), fmt.Sprintf("%X", text), "SECRET"} {
			if strings.Contains(shown, leak) {
				t.Errorf("%s prints %q, want no trace of the text", how, shown)
			}
		}
	}
}

func TestPasswordPrintsRedacted(t *testing.T) {
	p := credentials.NewPassword("secret")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, p); got != "[redacted]" {
			t.Errorf("%s prints %q, want [redacted]", verb, got)
		}
	}
	if got, err := json.Marshal(p); string(got) != `"[redacted]"` || err != nil {
		t.Errorf("JSON is %s, %v; want \"[redacted]\"", got, err)
	}
	if err := gob.NewEncoder(io.Discard).Encode(p); err == nil {
		t.Error("gob encodes a Password, want an error")
	}
	var request struct{ Password credentials.Password }
	if err := json.Unmarshal([]byte(`{"Password": "[redacted]"}`), &request); err == nil {
		t.Error("JSON is decoded into a Password, want an error")
	}
}

func TestPasswordReveal(t *testing.T) {
	for _, text := range []string{"", "secret", "nul\x00 and \xff"} {
		if got := credentials.NewPassword(text).Reveal(); got != text {
			t.Errorf("Reveal returned %q, want %q", got, text)
		}
	}
	if got := (credentials.Password{}).Reveal(); got != "" {
		t.Errorf("Reveal of the zero Password returned %q, want none", got)
	}
}

// == compiles and does not panic, also in a map or an interface, and reveals
// nothing about the text.
func TestPasswordComparesByIdentity(t *testing.T) {
	a, b := credentials.NewPassword("same"), credentials.NewPassword("same")
	if a == b || any(a) == any(b) || reflect.DeepEqual(a, b) {
		t.Error("two passwords with the same text are equal, want different ones")
	}
	if c := a; a != c {
		t.Error("a copy is not equal, want it equal")
	}
	if len(map[credentials.Password]bool{a: true, b: true}) != 2 {
		t.Error("two passwords with the same text are one key, want two")
	}
}

func FuzzPasswordIsNeverPrinted(f *testing.F) {
	all := formats()
	f.Add("J5WQ7ZTN2SECRETKX4YB3HOQRA", uint16(0))
	f.Add("%!v(MISSING)", uint16(1))
	f.Add("\"quoted\" <xml> \\u0000", uint16(2))
	f.Fuzz(func(t *testing.T, text string, n uint16) {
		if len(text) < 6 {
			return
		}
		format := all[int(n)%len(all)]
		// A text that is also printed of an empty password is not a leak.
		same := outputs(credentials.NewPassword(""), format)
		for how, shown := range outputs(credentials.NewPassword(text), format) {
			if strings.Contains(shown, text) && !strings.Contains(same[how], text) && !isAddress(text) {
				t.Errorf("%s prints %q, want no trace of the text", how, shown)
			}
		}
	})
}

// isAddress reports whether fmt may print the text as part of a pointer.
func isAddress(text string) bool {
	return strings.Trim(text, "0123456789abcdefABCDEFxX(){}[] ,:-+") == ""
}

func TestPasswordsHave130RandomBits(t *testing.T) {
	f := newFixture(t)
	seen := make(map[string]bool)
	letters := make(map[rune]int)
	for range 200 {
		p, err := f.acme.ResetPassword(t.Context(), f.user.Username)
		must(t, err)
		text := p.Reveal()
		if seen[text] || len(text) < 26 {
			t.Fatalf("got %q, want a new text of at least 26 letters and digits", text)
		}
		seen[text] = true
		for _, r := range text {
			letters[r]++
		}
	}
	for r := range letters {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz", r) {
			t.Errorf("a password contains %q, want only letters and digits", r)
		}
	}
	if len(letters) < 32 { // 26 letters out of 32 are 130 bits
		t.Errorf("passwords use %d letters and digits, want at least 32", len(letters))
	}
}
