package adbd_test

import "testing"

func shellArgv(t *testing.T) []string { return []string{"/bin/sh"} }
func shellEnv(t *testing.T, root string) []string {
	return []string{"PATH=/usr/bin:/bin", "HOME=/"}
}
