package lru_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/lru"
)

// replay applies operations to a new cache. It returns the keys below 10 that
// have an entry afterwards.
func replay(max int, ops ...func(*lru.Cache[int, int])) []int {
	c := &lru.Cache[int, int]{Max: max}
	for _, op := range ops {
		op(c)
	}
	var keys []int
	for k := range 10 {
		if _, ok := c.Get(k); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

func put(k int) func(*lru.Cache[int, int])    { return func(c *lru.Cache[int, int]) { c.Put(k, k) } }
func get(k int) func(*lru.Cache[int, int])    { return func(c *lru.Cache[int, int]) { c.Get(k) } }
func remove(k int) func(*lru.Cache[int, int]) { return func(c *lru.Cache[int, int]) { c.Delete(k) } }

func TestPutReplacesLeastRecentlyUsed(t *testing.T) {
	for _, test := range []struct {
		name string
		got  []int
		want []int
	}{
		{"room for all", replay(3, put(0), put(1), put(2)), []int{0, 1, 2}},
		{"the first entry goes", replay(3, put(0), put(1), put(2), put(3)), []int{1, 2, 3}},
		{"Get is a use", replay(3, put(0), put(1), put(2), get(0), put(3)), []int{0, 2, 3}},
		{"Put of an old key is a use", replay(3, put(0), put(1), put(2), put(0), put(3)), []int{0, 2, 3}},
		{"Get of an absent key is not", replay(2, put(0), put(1), get(5), put(2)), []int{1, 2}},
		{"Delete makes room", replay(2, put(0), put(1), remove(1), put(2)), []int{0, 2}},
		{"Delete of an absent key", replay(2, put(0), remove(5), put(1)), []int{0, 1}},
		{"one entry", replay(1, put(0), put(1), put(2)), []int{2}},
		{"no entries", replay(0, put(0), get(0)), nil},
		{"negative Max", replay(-1, put(0), remove(0)), nil},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: got the keys %v, want %v", test.name, test.got, test.want)
		}
	}
}

func TestPutChangesValue(t *testing.T) {
	c := lru.Cache[string, string]{Max: 2}
	c.Put("a", "old")
	c.Put("a", "new")
	if got, ok := c.Get("a"); got != "new" || !ok {
		t.Errorf("Get returned %q, %v; want %q, true", got, ok, "new")
	}
	if got := c.Len(); got != 1 {
		t.Errorf("Len is %d, want 1", got)
	}
}

// The cache does the same as a slice that is kept in the order of use.
func TestAgainstModel(t *testing.T) {
	const limit = 5
	rnd := rand.New(rand.NewPCG(1, 2))
	c := lru.Cache[int, int]{Max: limit}
	var model [][2]int // key and value; the last was used last
	use := func(k int) (v int, ok bool) {
		i := slices.IndexFunc(model, func(e [2]int) bool { return e[0] == k })
		if i < 0 {
			return 0, false
		}
		e := model[i]
		model = append(slices.Delete(model, i, i+1), e)
		return e[1], true
	}
	for step := range 10_000 {
		k := rnd.IntN(8)
		switch rnd.IntN(5) {
		case 0, 1:
			got, ok := c.Get(k)
			if want, wantOK := use(k); got != want || ok != wantOK {
				t.Fatalf("step %d: Get(%d) returned %d, %v; want %d, %v", step, k, got, ok, want, wantOK)
			}
		case 2:
			c.Delete(k)
			model = slices.DeleteFunc(model, func(e [2]int) bool { return e[0] == k })
		default:
			c.Put(k, step)
			if _, ok := use(k); ok {
				model[len(model)-1][1] = step
			} else if model = append(model, [2]int{k, step}); len(model) > limit {
				model = model[1:]
			}
		}
		if c.Len() != len(model) {
			t.Fatalf("step %d: Len is %d, want %d", step, c.Len(), len(model))
		}
	}
}

func TestOldestIsTheNextToGo(t *testing.T) {
	c := &lru.Cache[int, string]{Max: 3}
	if _, _, ok := c.Oldest(); ok {
		t.Error("an empty cache has an oldest entry")
	}
	c.Put(1, "one")
	c.Put(2, "two")
	c.Put(3, "three")
	c.Get(1)
	for range 2 { // asking is not a use
		if k, v, ok := c.Oldest(); k != 2 || v != "two" || !ok {
			t.Errorf("Oldest: got %d, %q, %v, want 2, two", k, v, ok)
		}
	}
}
