package credentials

// Hashes returns how many hashes were computed so far. A hash of another cost
// counts as much as its work.
func (m *Manager) Hashes() float64 {
	return float64(m.work.Load()) / float64(m.Cost.orDefault().work())
}

// MatchesPHC parses a PHC string and checks a password against it.
func MatchesPHC(text, password string) (bool, error) {
	h, err := parsePHC(text)
	if err != nil {
		return false, err
	}
	ok, _ := h.matches(password, nil)
	return ok, nil
}

// EncodePHC parses a PHC string and encodes it again.
func EncodePHC(text string) (string, error) {
	h, err := parsePHC(text)
	return h.encode(), err
}

// OnHash makes f run before each hash of a login, while the hash queue counts it as
// running.
func (m *Manager) OnHash(f func()) { m.onHash = f }
