// Command miosd is the device's side of miOS: one binary that is the loader,
// init, adbd, the updater, the package manager, the shell and its commands.
// Which one it is, is the name that it is called by, or its first argument:
//
//	miosd APPLET [ARGUMENT]...
//
// Built with the tag "ramdisk" it has only what runs before the system
// partition is mounted: the loader and the first stage of init.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// An applet is one of the programs that miosd is. It returns the exit status.
type applet struct {
	name string
	run  func(ctx context.Context, args []string) int
}

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "miosd" && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	for a := range applets {
		if a.name == name {
			os.Exit(a.run(context.Background(), args))
		}
	}
	fmt.Fprintf(os.Stderr, "miosd: no applet %q; there are:\n", name)
	for a := range applets {
		fmt.Fprintf(os.Stderr, "  %s\n", a.name)
	}
	os.Exit(2)
}
