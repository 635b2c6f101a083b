package main

import (
	"context"
	"fmt"

	"mios/internal/tool"
)

var doctor = command{"doctor", "[--missing] [--tests]", "look for the programs of Debian's that mios uses\n" +
	"Prints where each one is, or which Debian package brings it.", runDoctor}

func runDoctor(_ context.Context, e env, args []string) error {
	set := flags(e)
	missing := set.Bool("missing", false, "print only the names of the packages to install, one a line")
	tests := set.Bool("tests", false, "with --missing: also those that only the tests use")
	if err := parse(set, args, 0, 0); err != nil {
		return err
	}
	if !*missing {
		fmt.Fprint(e.stdout, tool.Table())
		return nil
	}
	for _, p := range tool.Missing(*tests) {
		fmt.Fprintln(e.stdout, p)
	}
	return nil
}
