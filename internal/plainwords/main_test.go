package main

import "testing"

func TestCount(t *testing.T) {
	for _, tt := range []struct {
		text string
		hits int
	}{
		{"The client logs in. It is no longer asked for a password.", 0},
		{"If the lease has ended, another node takes over.", 0},
		{"Who logs in again is served first.", 1},
		{"It fails. What can't be read is skipped.", 1},
		{"It is no header field, but for the colon.", 2},
		{"Nobody else has it; somebody may, in vain.", 3},
		{"The Spool has trouble meanwhile.", 2},
	} {
		if words, hits := count([]text{{"x", tt.text}}); len(hits) != tt.hits || words == 0 {
			t.Errorf("%q: got %d hits %q, want %d", tt.text, len(hits), hits, tt.hits)
		}
	}
}

// Code in comments and in Markdown is not counted.
func TestParagraphs(t *testing.T) {
	got := paragraphs("x", "A paragraph\nof two lines.\n\n\tsomebody := 1\n\n- an item\n- another\n")
	if len(got) != 3 || got[0].words != "A paragraph of two lines." || got[2].words != "another" {
		t.Errorf("got %q", got)
	}
}
