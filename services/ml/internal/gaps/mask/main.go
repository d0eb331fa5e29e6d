// Command mask measures what filling is worth: it hides rows of real series, fills
// them by the rules, and compares with what was there, beside seasonal-naive and linear.
//
//	go run ./services/ml/internal/gaps/mask -data DIR
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mask:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("mask", flag.ContinueOnError)
	dir := fs.String("data", os.Getenv("CLOUDOPTIM_DATA"), "the folder that has usage-timeseries")
	seed := fs.Uint64("seed", 1, "what is hidden")
	if err := fs.Parse(args); err != nil {
		return err
	}
	all, err := load(*dir)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(measure(all, *seed))
}
