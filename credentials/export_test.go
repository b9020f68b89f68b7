package credentials

// Hashes returns how many hashes were computed so far.
func (m *Manager) Hashes() int64 { return m.hashes.Load() }

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
