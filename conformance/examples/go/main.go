// search-domain is a whole CNI plugin with nothing but Go's standard library: chained behind others, it adds the domain of
// its configuration to the search list of the result.
//
//	{"type": "search-domain", "domain": "example.org"}
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Codes of the specification ("Error").
const (
	incompatibleVersion = 1
	invalidEnvironment  = 4
	ioFailure           = 5
	decodingFailure     = 6
	invalidConfig       = 7
	domainIsGone        = 100
)

var versions = []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}

var name = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// failure is an error object.
type failure struct {
	CNIVersion string `json:"cniVersion"`
	Code       int    `json:"code"`
	Msg        string `json:"msg"`
}

type object = map[string]any

type config struct {
	CNIVersion string           `json:"cniVersion"`
	Name       string           `json:"name"`
	Domain     string           `json:"domain"`
	PrevResult object           `json:"prevResult"`
	Valid      *json.RawMessage `json:"cni.dev/valid-attachments"`
}

func main() {
	version := versions[len(versions)-1]
	reply, fault := run(os.Getenv("CNI_COMMAND"), &version)
	if fault != nil {
		fault.CNIVersion = version
		json.NewEncoder(os.Stdout).Encode(fault)
		os.Exit(1)
	}
	if reply != nil {
		json.NewEncoder(os.Stdout).Encode(reply)
	}
}

func fail(code int, format string, values ...any) *failure {
	return &failure{Code: code, Msg: fmt.Sprintf(format, values...)}
}

func run(command string, version *string) (object, *failure) {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, fail(ioFailure, "cannot read the configuration: %v", err)
	}
	if command == "VERSION" {
		var asked config
		if json.Unmarshal(input, &asked) == nil && asked.CNIVersion != "" {
			*version = asked.CNIVersion
		}
		return object{"cniVersion": *version, "supportedVersions": versions}, nil
	}
	if fault := environment(command); fault != nil {
		return nil, fault
	}
	conf := config{CNIVersion: versions[0]}
	if err := json.Unmarshal(input, &conf); err != nil {
		return nil, fail(decodingFailure, "the configuration cannot be understood: %v", err)
	}
	age := slices.Index(versions, conf.CNIVersion)
	if age < 0 {
		return nil, fail(incompatibleVersion, "cniVersion %q is none of %q", conf.CNIVersion, versions)
	}
	*version = conf.CNIVersion
	if first := map[string]string{"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}[command]; first != "" &&
		age < slices.Index(versions, first) {
		return nil, fail(incompatibleVersion, "cniVersion %s has no %s", conf.CNIVersion, command)
	}
	if !name.MatchString(conf.Name) {
		return nil, fail(invalidConfig, "invalid name %q of the network", conf.Name)
	}
	switch command {
	case "ADD":
		return add(&conf)
	case "CHECK":
		return nil, check(&conf)
	case "GC":
		return nil, gc(&conf)
	}
	// DEL and STATUS: ADD makes nothing outside of its result, so there is nothing to remove or to miss.
	return nil, nil
}

// environment is about "Parameters". Names of variables stand in every message.
func environment(command string) *failure {
	switch command {
	case "GC", "STATUS":
		return nil
	case "ADD", "CHECK", "DEL":
	default:
		return fail(invalidEnvironment, "unknown CNI_COMMAND %q", command)
	}
	var wrong []string
	if !name.MatchString(os.Getenv("CNI_CONTAINERID")) {
		wrong = append(wrong, "CNI_CONTAINERID")
	}
	if ifname := os.Getenv("CNI_IFNAME"); ifname == "" || len(ifname) > 15 || strings.ContainsAny(ifname, "/: \t\n") {
		wrong = append(wrong, "CNI_IFNAME")
	}
	if command != "DEL" && os.Getenv("CNI_NETNS") == "" {
		wrong = append(wrong, "CNI_NETNS")
	}
	if len(wrong) > 0 {
		return fail(invalidEnvironment, "missing or invalid: %s", strings.Join(wrong, ", "))
	}
	return nil
}

// search is the search list of a result, all the rest of which is handed on as it came.
func search(result object) (dns object, list []any) {
	dns, _ = result["dns"].(object)
	list, _ = dns["search"].([]any)
	return dns, list
}

func add(conf *config) (object, *failure) {
	if conf.PrevResult == nil {
		return nil, fail(invalidConfig, "prevResult is missing (hint: put another plugin first)")
	}
	dns, list := search(conf.PrevResult)
	if dns == nil {
		dns = object{}
	}
	if !slices.Contains(list, any(conf.Domain)) {
		dns["search"] = append(list, conf.Domain)
	}
	conf.PrevResult["dns"] = dns
	conf.PrevResult["cniVersion"] = conf.CNIVersion
	return conf.PrevResult, nil
}

func check(conf *config) *failure {
	if _, list := search(conf.PrevResult); !slices.Contains(list, any(conf.Domain)) {
		return fail(domainIsGone, "prevResult does not have the search domain %q", conf.Domain)
	}
	return nil
}

func gc(conf *config) *failure {
	var valid []struct{ ContainerID, Ifname string }
	if conf.Valid == nil {
		return nil
	}
	if err := json.Unmarshal(*conf.Valid, &valid); err != nil {
		return fail(invalidConfig, "cni.dev/valid-attachments: %v", err)
	}
	return nil
}
