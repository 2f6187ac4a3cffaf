// A program that is no test and tries to watch.
package main

import "github.com/countersign/countersign/internal/scratch"

func main() { scratch.Begin() }
