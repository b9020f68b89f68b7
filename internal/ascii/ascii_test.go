package ascii_test

import (
	"testing"

	"github.com/gatepost-mail/gatepost/internal/ascii"
)

func TestLower(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "bob@x": "bob@x", "@[AZ]az`{": "@[az]az`{",
		"BÜCHER": "bÜcher", "\u0130K\u212a": "\u0130k\u212a", "A\xff\x00Z": "a\xff\x00z",
	} {
		if got := ascii.Lower(in); got != want {
			t.Errorf("Lower(%q): got %q, want %q", in, got, want)
		}
	}
}
