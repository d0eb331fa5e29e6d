// Package e2e tells the real binaries stories from outside, on the lab: run them with -tags e2e.
package e2e
