package storetest

import "time"

// SetOtherProcess sets how long Lease/OtherProcess waits.
func SetOtherProcess(d time.Duration) { otherProcess = d }

// HistoryCases returns the names of the cases of RunHistory.
func HistoryCases() (names []string) {
	for _, p := range historyPromises() {
		names = append(names, p.name)
	}
	return names
}

// AllowanceCases returns the names of the cases of RunAllowances.
func AllowanceCases() (names []string) {
	for _, p := range allowancePromises() {
		names = append(names, p.name)
	}
	return names
}
