//go:build !ramdisk

package main

// applets is everything that runs on a booted device.
var applets = []applet{
	{"init", runInit},
	{"logcat", logcat},
	{"netd", runNetd},
}
