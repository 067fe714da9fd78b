//! The fields of every row type that can be filtered. Names and kinds are Consul's; what is not listed here is
//! not selectable there either. Pure.

use shared::{
    agent::{AgentCheck, AgentService, Member},
    catalog::CatalogService,
    check::Check,
    health::ServiceNode,
    node::{Node, NodeDump},
    service::{Connect, Proxy, Service, ServiceAddress, Weights},
};

use super::{
    Filterable,
    schema::{Field, Kind, Record, Schema, Shown as _, Value},
};

macro_rules! fields {
    ($($type:ty, $schema:ident { $($name:literal $kind:expr => |$row:ident| $value:expr;)* })*) => {$(
        static $schema: Schema = Schema(&[$(Field { name: $name, kind: $kind },)*]);
        impl Record for $type {
            fn field(&self, name: &str) -> Value<'_> {
                match name {
                    $($name => { let $row = self; $value })*
                    _ => Value::Nothing,
                }
            }
        }
        impl Filterable for $type {
            fn schema() -> &'static Schema {
                &$schema
            }
        }
    )*};
}

static MESH_GATEWAY: Schema = Schema(&[Field { name: "Mode", kind: Kind::Text }]);
static UPSTREAM: Schema = Schema(&[
    Field { name: "DestinationType", kind: Kind::Text },
    Field { name: "DestinationNamespace", kind: Kind::Text },
    Field { name: "DestinationName", kind: Kind::Text },
    Field { name: "Datacenter", kind: Kind::Text },
    Field { name: "LocalBindAddress", kind: Kind::Text },
    Field { name: "LocalBindPort", kind: Kind::Number },
    Field { name: "MeshGateway", kind: Kind::One(&MESH_GATEWAY) },
]);
static EXPOSE_PATH: Schema = Schema(&[
    Field { name: "ListenerPort", kind: Kind::Number },
    Field { name: "Path", kind: Kind::Text },
    Field { name: "LocalPathPort", kind: Kind::Number },
    Field { name: "Protocol", kind: Kind::Text },
    Field { name: "ParsedFromCheck", kind: Kind::Bool },
]);
static EXPOSE: Schema = Schema(&[Field { name: "Checks", kind: Kind::Bool }, Field { name: "Paths", kind: Kind::Many(&EXPOSE_PATH) }]);

fields! {
    ServiceAddress, SERVICE_ADDRESS {
        "Address" Kind::Text => |row| row.address.shown();
        "Port" Kind::Number => |row| row.port.shown();
    }
    Weights, WEIGHTS {
        "Passing" Kind::Number => |row| row.passing.shown();
        "Warning" Kind::Number => |row| row.warning.shown();
    }
    Connect, CONNECT {
        "Native" Kind::Bool => |row| row.native.shown();
    }
    Proxy, PROXY {
        "DestinationServiceName" Kind::Text => |row| row.destination_service_name.shown();
        "DestinationServiceID" Kind::Text => |row| row.destination_service_id.shown();
        "LocalServiceAddress" Kind::Text => |row| row.local_service_address.shown();
        "LocalServicePort" Kind::Number => |row| row.local_service_port.shown();
        "Upstreams" Kind::Many(&UPSTREAM) => |row| row.upstreams.shown();
        "MeshGateway" Kind::One(&MESH_GATEWAY) => |row| row.mesh_gateway.shown();
        "Expose" Kind::One(&EXPOSE) => |row| row.expose.shown();
    }
    Node, NODE {
        "ID" Kind::Text => |row| row.id.shown();
        "Node" Kind::Text => |row| row.name.shown();
        "Address" Kind::Text => |row| row.address.shown();
        "Datacenter" Kind::Text => |row| row.datacenter.shown();
        "TaggedAddresses" Kind::TextMap => |row| row.tagged_addresses.shown();
        "Meta" Kind::TextMap => |row| row.meta.shown();
    }
    Service, SERVICE {
        "Kind" Kind::Text => |row| row.kind.shown();
        "ID" Kind::Text => |row| row.id.shown();
        "Service" Kind::Text => |row| row.name.shown();
        "Tags" Kind::Texts => |row| row.tags.shown();
        "Address" Kind::Text => |row| row.address.shown();
        "TaggedAddresses" Kind::Map(&SERVICE_ADDRESS) => |row| Value::Many(&row.tagged_addresses);
        "Meta" Kind::TextMap => |row| row.meta.shown();
        "Port" Kind::Number => |row| row.port.shown();
        "Weights" Kind::One(&WEIGHTS) => |row| Value::One(&row.weights);
        "EnableTagOverride" Kind::Bool => |row| row.enable_tag_override.shown();
        "Proxy" Kind::One(&PROXY) => |row| Value::One(&row.proxy);
        "Connect" Kind::One(&CONNECT) => |row| Value::One(&row.connect);
    }
    AgentService, AGENT_SERVICE {
        "Kind" Kind::Text => |row| row.kind.shown();
        "ID" Kind::Text => |row| row.id.shown();
        "Service" Kind::Text => |row| row.name.shown();
        "Tags" Kind::Texts => |row| row.tags.shown();
        "Address" Kind::Text => |row| row.address.shown();
        "TaggedAddresses" Kind::Map(&SERVICE_ADDRESS) => |row| Value::Many(&row.tagged_addresses);
        "Meta" Kind::TextMap => |row| row.meta.shown();
        "Port" Kind::Number => |row| row.port.shown();
        "Weights" Kind::One(&WEIGHTS) => |row| Value::One(&row.weights);
        "EnableTagOverride" Kind::Bool => |row| row.enable_tag_override.shown();
        "Proxy" Kind::One(&PROXY) => |row| row.proxy.as_ref().map_or(Value::Nothing, |proxy| Value::One(proxy));
        "Connect" Kind::One(&CONNECT) => |row| row.connect.as_ref().map_or(Value::Nothing, |connect| Value::One(connect));
    }
    CatalogService, CATALOG_SERVICE {
        "ID" Kind::Text => |row| row.id.shown();
        "Node" Kind::Text => |row| row.node.shown();
        "Address" Kind::Text => |row| row.address.shown();
        "Datacenter" Kind::Text => |row| row.datacenter.shown();
        "TaggedAddresses" Kind::TextMap => |row| row.tagged_addresses.shown();
        "NodeMeta" Kind::TextMap => |row| row.node_meta.shown();
        "ServiceKind" Kind::Text => |row| row.service_kind.shown();
        "ServiceID" Kind::Text => |row| row.service_id.shown();
        "ServiceName" Kind::Text => |row| row.service_name.shown();
        "ServiceTags" Kind::Texts => |row| row.service_tags.shown();
        "ServiceAddress" Kind::Text => |row| row.service_address.shown();
        "ServiceTaggedAddresses" Kind::Map(&SERVICE_ADDRESS) => |row| Value::Many(&row.service_tagged_addresses);
        "ServiceWeights" Kind::One(&WEIGHTS) => |row| Value::One(&row.service_weights);
        "ServiceMeta" Kind::TextMap => |row| row.service_meta.shown();
        "ServicePort" Kind::Number => |row| row.service_port.shown();
        "ServiceEnableTagOverride" Kind::Bool => |row| row.service_enable_tag_override.shown();
        "ServiceProxy" Kind::One(&PROXY) => |row| Value::One(&row.service_proxy);
        "ServiceConnect" Kind::One(&CONNECT) => |row| Value::One(&row.service_connect);
    }
    Check, CHECK {
        "Node" Kind::Text => |row| row.node.shown();
        "CheckID" Kind::Text => |row| row.id.shown();
        "Name" Kind::Text => |row| row.name.shown();
        "Status" Kind::Text => |row| row.status.shown();
        "Notes" Kind::Text => |row| row.notes.shown();
        "Output" Kind::Text => |row| row.output.shown();
        "ServiceID" Kind::Text => |row| row.service_id.shown();
        "ServiceName" Kind::Text => |row| row.service_name.shown();
        "ServiceTags" Kind::Texts => |row| row.service_tags.shown();
        "Type" Kind::Text => |row| row.kind.shown();
    }
    AgentCheck, AGENT_CHECK {
        "Node" Kind::Text => |row| row.node.shown();
        "CheckID" Kind::Text => |row| row.id.shown();
        "Name" Kind::Text => |row| row.name.shown();
        "Status" Kind::Text => |row| row.status.shown();
        "Notes" Kind::Text => |row| row.notes.shown();
        "Output" Kind::Text => |row| row.output.shown();
        "ServiceID" Kind::Text => |row| row.service_id.shown();
        "ServiceName" Kind::Text => |row| row.service_name.shown();
        "ServiceTags" Kind::Texts => |row| row.service_tags.shown();
        "Type" Kind::Text => |row| row.kind.shown();
    }
    ServiceNode, SERVICE_NODE {
        "Node" Kind::One(&NODE) => |row| Value::One(&row.node);
        "Service" Kind::One(&SERVICE) => |row| Value::One(&row.service);
        "Checks" Kind::Many(&CHECK) => |row| Value::Many(&row.checks);
    }
    NodeDump, NODE_DUMP {
        "ID" Kind::Text => |row| row.id.shown();
        "Node" Kind::Text => |row| row.name.shown();
        "Address" Kind::Text => |row| row.address.shown();
        "TaggedAddresses" Kind::TextMap => |row| row.tagged_addresses.shown();
        "Meta" Kind::TextMap => |row| row.meta.shown();
        "Services" Kind::Many(&SERVICE) => |row| Value::Many(&row.services);
        "Checks" Kind::Many(&CHECK) => |row| Value::Many(&row.checks);
    }
    Member, MEMBER {
        "Name" Kind::Text => |row| row.name.shown();
        "Addr" Kind::Text => |row| row.addr.shown();
        "Port" Kind::Number => |row| row.port.shown();
        "Tags" Kind::TextMap => |row| row.tags.shown();
        "Status" Kind::Number => |row| row.status.shown();
        "ProtocolMin" Kind::Number => |row| row.protocol_min.shown();
        "ProtocolMax" Kind::Number => |row| row.protocol_max.shown();
        "ProtocolCur" Kind::Number => |row| row.protocol_cur.shown();
        "DelegateMin" Kind::Number => |row| row.delegate_min.shown();
        "DelegateMax" Kind::Number => |row| row.delegate_max.shown();
        "DelegateCur" Kind::Number => |row| row.delegate_cur.shown();
    }
}
