package console

// RoutePaths returns the paths of the handler, for the external tests.
func RoutePaths(h *Handler) []string {
	var paths []string
	for _, rt := range h.routes() {
		paths = append(paths, rt.path)
	}
	return paths
}
