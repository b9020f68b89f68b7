package console

// RoutePaths returns the paths of the handler, for the external tests.
func RoutePaths() []string {
	var paths []string
	for _, rt := range new(Handler).routes() {
		paths = append(paths, rt.path)
	}
	return paths
}
