package sqlstore

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// What pack makes of activities has their numbers and texts where unpacked looks for them.
func TestPack(t *testing.T) {
	list := []*store.ActivityChange{
		{Activity: store.Activity{Tenant: "acme", Mail: "m1", N: 7, Received: time.UnixMicro(1), Recipient: "bob@example.com", Trail: "\x00\xff,}"}},
		{Activity: store.Activity{Size: -1 << 63, Order: 1<<63 - 1}}, // all texts are empty
		{Activity: store.Activity{Tenant: "bücher", Mail: "m2", Subject: "a, {b} 'c'"}},
	}
	params := pack(list)
	var numbers []int64
	for _, text := range strings.Split(strings.Trim(params[0].(string), "{}"), ",") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	texts := params[1].([]byte)
	const row = len(activityNumbers{}) + len(activityTexts{})
	if len(numbers) != 1+row*len(list) || numbers[0] != 0 {
		t.Fatalf("%d numbers, want 0 and %d rows of %d", len(numbers), len(list), row)
	}
	for r, c := range list {
		of := numbers[r*row : (r+1)*row+1]
		if got := activityNumbers(of[1:]); got != numbersOf(&c.Activity) {
			t.Errorf("row %d: numbers %v, want %v", r, got, numbersOf(&c.Activity))
		}
		begin := of[0]
		for i, want := range textsOf(&c.Activity) {
			end := of[1+len(activityNumbers{})+i]
			if got := string(texts[begin:end]); got != want {
				t.Errorf("row %d: text %d is %q, want %q", r, i, got, want)
			}
			begin = end
		}
	}
	if strings.Contains(unpacked(), "?") {
		t.Error("unpacked has a question mark, which is taken for a parameter")
	}
}
