// A provider for Terraform that knows the schemas of Google's provider, and nothing else: `terraform validate` finds with it whether resources,
// arguments, references and variables exist. Google's provider itself comes from a registry that not every machine reaches.
// tools/check-terraform.py builds and uses it; schema.json is written by schema.py.
package main

import (
	_ "embed"
	"encoding/json"
	"log"

	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hashicorp/terraform-plugin-sdk/v2/plugin"
)

//go:embed schema.json
var text []byte

// field is an argument, an attribute or a nested block.
type field struct {
	Type     string           `json:"type"` // string, number, bool, list, set, map or block
	Of       string           `json:"of"`   // the type of the elements of a list, a set or a map
	Required bool             `json:"required"`
	Optional bool             `json:"optional"`
	One      bool             `json:"one"`      // at most one such block
	Computed bool             `json:"computed"` // a list that the provider computes
	Fields   map[string]field `json:"fields"`
}

var types = map[string]schema.ValueType{
	"string": schema.TypeString, "number": schema.TypeFloat, "bool": schema.TypeBool, "list": schema.TypeList, "set": schema.TypeSet, "map": schema.TypeMap,
}

func (f field) schema() *schema.Schema {
	made := &schema.Schema{Required: f.Required, Optional: f.Optional, Computed: !f.Required && f.Type != "block"}
	if f.Computed {
		made.Type, made.Computed, made.Elem = schema.TypeList, true, &schema.Resource{Schema: schemas(f.Fields)}
		return made
	}
	if f.Type == "block" {
		made.Type, made.Elem = schema.TypeList, &schema.Resource{Schema: schemas(f.Fields)}
		if f.One {
			made.MaxItems = 1
		}
		return made
	}
	made.Type = types[f.Type]
	if f.Of != "" {
		made.Elem = &schema.Schema{Type: types[f.Of]}
	}
	return made
}

func schemas(fields map[string]field) map[string]*schema.Schema {
	made := map[string]*schema.Schema{}
	for name, f := range fields {
		made[name] = f.schema()
	}
	return made
}

func resources(all map[string]map[string]field) map[string]*schema.Resource {
	made := map[string]*schema.Resource{}
	for name, fields := range all {
		made[name] = &schema.Resource{Schema: schemas(fields)}
	}
	return made
}

func main() {
	var found struct {
		Resources map[string]map[string]field `json:"resources"`
		Data      map[string]map[string]field `json:"data"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		log.Fatal(err)
	}
	provider := &schema.Provider{ResourcesMap: resources(found.Resources), DataSourcesMap: resources(found.Data)}
	plugin.Serve(&plugin.ServeOpts{ProviderFunc: func() *schema.Provider { return provider }})
}
