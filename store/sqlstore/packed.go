package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gatepost-mail/gatepost/store"
)

// On PostgreSQL a statement for activities has two parameters, however many activities
// there are: all their numbers, and the bytes of all their texts. A parameter for each of
// 28 columns of a row costs the driver more than all else that it does.

// unpacked is the query that unpacks the rows of activities. The numbers are 0 and then, for
// each row, those of numbersOf and where each of textsOf ends in the texts. So a text begins
// at the number before.
var unpacked = sync.OnceValue(func() string {
	number := func(i int) string { return fmt.Sprintf("($1::bigint[])[r + %d]", i) }
	var numbers, texts []string
	for len(numbers) < len(activityNumbers{}) {
		numbers = append(numbers, number(1+len(numbers)))
	}
	begin := number(0)
	for len(texts) < len(activityTexts{}) {
		end := number(1 + len(numbers) + len(texts))
		text := fmt.Sprintf("substring($2::bytea FROM (%s + 1)::int FOR (%s - %s)::int)", begin, end, begin)
		if len(texts) < keyTexts {
			text = "convert_from(" + text + ", 'UTF8')"
		}
		texts, begin = append(texts, text), end
	}
	columns := slices.Concat(texts[:keyTexts], numbers, texts[keyTexts:])
	return fmt.Sprintf("SELECT %s FROM generate_series(1, array_length($1::bigint[], 1) - 1, %d) AS r", strings.Join(columns, ", "), len(columns))
})

// pack returns the parameters of unpacked.
func pack(list []*store.ActivityChange) []any {
	size := 0
	for _, c := range list {
		for _, text := range textsOf(&c.Activity) {
			size += len(text)
		}
	}
	texts := make([]byte, 0, size)
	numbers := append(make([]byte, 0, 256*len(list)), "{0"...)
	add := func(n int64) { numbers = strconv.AppendInt(append(numbers, ','), n, 10) }
	for _, c := range list {
		for _, n := range numbersOf(&c.Activity) {
			add(n)
		}
		for _, text := range textsOf(&c.Activity) {
			texts = append(texts, text...)
			add(int64(len(texts)))
		}
	}
	return []any{string(append(numbers, '}')), texts}
}

// planPacked is planEach for a query of activities on PostgreSQL.
func (s *Store) planPacked(ctx context.Context, to *[]statement, q rowsQuery, list []*store.ActivityChange) error {
	if len(list) == 0 {
		return nil
	}
	st, err := s.prepared(ctx, strings.Replace(q.text, "VALUES ...", unpacked(), 1))
	if err != nil {
		return err
	}
	for some := range slices.Chunk(list, maxRows) {
		*to = append(*to, statement{prepared: st, fill: func() []any { return pack(some) }, rows: int64(len(some))})
	}
	return nil
}
