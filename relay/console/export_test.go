package console

// RoutePaths returns the paths of the handler, for the external tests.
func RoutePaths() []string {
	var paths []string
	for _, rt := range routes() {
		paths = append(paths, rt.path)
	}
	return paths
}
