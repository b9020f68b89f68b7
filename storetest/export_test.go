package storetest

// HistoryCases returns the names of the cases of RunHistory.
func HistoryCases() (names []string) {
	for _, p := range historyPromises() {
		names = append(names, p.name)
	}
	return names
}
