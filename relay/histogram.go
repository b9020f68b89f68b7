package relay

import "slices"

// A Histogram counts values by size.
type Histogram struct {
	// Bounds are the upper limits of the buckets, in ascending order. A value that
	// equals a limit is in its bucket. The reader must not change them.
	Bounds []float64

	// Counts has the number of values in each bucket, and then the number of those
	// above the last limit.
	Counts []int64

	Sum float64 // of all values
}

// NewHistogram returns an empty Histogram with these limits, which must ascend.
func NewHistogram(bounds ...float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]int64, len(bounds)+1)}
}

// Observe counts a value. It is not safe for concurrent use.
func (h *Histogram) Observe(v float64) {
	i, _ := slices.BinarySearch(h.Bounds, v)
	h.Counts[i]++
	h.Sum += v
}

// Clone returns a copy that further calls of Observe do not change.
func (h Histogram) Clone() Histogram {
	h.Counts = slices.Clone(h.Counts)
	return h
}
