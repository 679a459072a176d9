package install

import "fmt"

// distributions are those that write containerd's configuration themselves.
//
// registries.yaml is the interface that they document. Files of ours beside the
// hosts.toml that they write would be read too, but lose against every registry
// that registries.yaml names, and vanish with the agent's data.
var distributions = []string{"k3s", "rke2"}

// distribution says what runs containerd on this machine.
func (p *plan) distribution(asked string) (string, error) {
	switch asked {
	case "containerd", "k3s", "rke2":
		return asked, nil
	case "":
	default:
		return "", fmt.Errorf("distribution %q is unknown: it is containerd, k3s or rke2", asked)
	}
	for _, d := range distributions {
		for _, dir := range []string{"/etc/rancher/" + d, "/var/lib/rancher/" + d} {
			if p.Tree.Exists(dir) {
				return d, nil
			}
		}
	}
	return "containerd", nil
}

// rancher plans the registries.yaml of k3s or RKE2.
func (p *plan) rancher(distribution string) error {
	path := "/etc/rancher/" + distribution + "/registries.yaml"
	text, _, err := p.Tree.Read(path)
	if err != nil {
		return err
	}
	var hosts []string
	for _, r := range p.Parts {
		if r == "" {
			r = "*"
		}
		hosts = append(hosts, r)
	}
	out, hunks, notes, err := addEndpoints(text, p.Mirror, hosts)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.Notes = append(p.Notes, notes...)
	p.Restart = p.unit(distribution)
	return p.Set(path, "the mirror comes first", out, hunks...)
}

// unit is the command that restarts the distribution on this machine.
func (p *plan) unit(distribution string) string {
	server, agent := "k3s", "k3s-agent"
	if distribution == "rke2" {
		server, agent = "rke2-server", "rke2-agent"
	}
	for _, dir := range []string{"/etc/systemd/system/", "/usr/local/lib/systemd/system/", "/usr/lib/systemd/system/"} {
		if p.Tree.Exists(dir+agent+".service") && !p.Tree.Exists(dir+server+".service") {
			server = agent
		}
	}
	return "systemctl restart " + server
}
