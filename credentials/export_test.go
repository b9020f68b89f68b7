package credentials

// Hashes returns how many hashes were computed so far: their work, counted in
// hashes of the Manager's own cost.
func (m *Manager) Hashes() float64 {
	return float64(m.work.Load()) / float64(m.Cost.orDefault().work())
}

// MatchesPHC parses a PHC string and checks a password against it.
func MatchesPHC(text, password string) (bool, error) {
	h, err := parsePHC(text)
	return err == nil && h.matches(password), err
}

// EncodePHC parses a PHC string and writes it again.
func EncodePHC(text string) (string, error) {
	h, err := parsePHC(text)
	return h.encode(), err
}

// OnHash has f called before each hash of a login, by the goroutine that holds
// the place to compute it.
func (m *Manager) OnHash(f func()) { m.onHash = f }
