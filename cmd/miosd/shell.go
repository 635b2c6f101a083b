//go:build !ramdisk

package main

import (
	"context"

	"mios/device/shell"
)

// shellApplets are the shell and every command of it.
func shellApplets() []applet {
	var list []applet
	for _, c := range shell.Commands() {
		list = append(list, applet{c.Name, func(ctx context.Context, args []string) int { return c.Run(ctx, shell.OS(), args) }})
	}
	return list
}
