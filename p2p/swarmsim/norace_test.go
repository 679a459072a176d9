//go:build !race

package swarmsim

const many = 1000
