package dev

// Environment is what a service is started with.
var Environment = environment
