//! `services register | deregister`.
//!
//! Contract: command line, section "Catalog, services, events, config".

use std::path::PathBuf;

use shared::{
    agent::{DeregisterService, RegisterService, ServiceRegistration},
    service::ServiceAddress,
};

use super::{
    args::Args,
    client::Client,
    print::{Print, quoted},
};
use crate::config;

/// The services named by flags or defined in files.
fn definitions(args: &Args, flag: &str) -> Result<Vec<ServiceRegistration>, String> {
    if !args.rest.is_empty() {
        if !args.text(flag).is_empty() {
            return Err(format!("-{flag} cannot be given together with files"));
        }
        let paths: Vec<PathBuf> = args.rest.iter().map(PathBuf::from).collect();
        let found = config::read(&paths, None).and_then(|sources| config::services(&sources)).map_err(|why| why.to_string())?;
        return if found.is_empty() { Err("no service is defined in the files given".to_owned()) } else { Ok(found) };
    }
    let mut service = ServiceRegistration {
        id: args.text("id"),
        name: args.text("name"),
        kind: args.text("kind"),
        address: args.text("address"),
        tags: args.all("tag").into_iter().map(str::to_owned).collect(),
        meta: args.pairs("meta")?.into_iter().collect(),
        ..ServiceRegistration::default()
    };
    service.port = match args.number("port") {
        Ok(port) => port.unwrap_or(0),
        Err(_) => return Err(format!("invalid value {} for flag -port", quoted(&args.text("port")))),
    };
    for (tag, address) in args.pairs("tagged-address")? {
        service.tagged_addresses.insert(tag, host_port(&address)?);
    }
    Ok(vec![service])
}

fn host_port(text: &str) -> Result<ServiceAddress, String> {
    let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.starts_with('[')) else {
        return Ok(ServiceAddress { address: text.trim_matches(['[', ']']).to_owned(), port: 0 });
    };
    let port = port.parse().map_err(|_| format!("invalid port in tagged address {}", quoted(text)))?;
    Ok(ServiceAddress { address: host.trim_matches(['[', ']']).to_owned(), port })
}

/// `services register`.
pub(super) async fn register(args: &Args, client: &Client, print: &mut Print) -> u8 {
    if args.rest.is_empty() && args.text("name").is_empty() {
        print.say("Service registration requires at least one argument or flags.");
        return 1;
    }
    let services = match definitions(args, "name") {
        Ok(services) => services,
        Err(why) => {
            print.say(format!("Error: {why}"));
            return 1;
        }
    };
    for registration in services {
        let name = registration.name.clone();
        let call = RegisterService { registration, ..RegisterService::default() };
        if let Err(why) = client.call(&call).await {
            print.say(format!("Error registering service {}: {why}", quoted(&name)));
            return 1;
        }
        print.line(format!("Registered service: {name}"));
    }
    0
}

/// `services deregister`. An id nobody knows is no error.
pub(super) async fn deregister(args: &Args, client: &Client, print: &mut Print) -> u8 {
    if args.rest.is_empty() && args.text("id").is_empty() {
        print.say("Service deregistration requires at least one argument or -id.");
        return 1;
    }
    let services = match definitions(args, "id") {
        Ok(services) => services,
        Err(why) => {
            print.say(format!("Error: {why}"));
            return 1;
        }
    };
    for service in services {
        let id = if service.id.is_empty() { service.name } else { service.id };
        if let Err(why) = client.find(&DeregisterService { id: id.clone(), ..DeregisterService::default() }).await {
            print.say(format!("Error deregistering service {}: {why}", quoted(&id)));
            return 1;
        }
        print.line(format!("Deregistered service: {id}"));
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{args, commands};

    fn of(arguments: &[&str]) -> Result<Vec<ServiceRegistration>, String> {
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        definitions(&args::parse(&arguments, &[commands::SERVICES_REGISTER]).expect("known flags"), "name")
    }

    #[test]
    fn flags_define_one_service() {
        let flags = ["-name=web", "-id=w1", "-port=80", "-tag=a", "-tag=b", "-meta", "k=v=w", "-tagged-address=lan=10.0.0.1:81"];
        let service = of(&flags).expect("it is complete").remove(0);
        assert_eq!((service.name.as_str(), service.id.as_str(), service.port, service.tags.len()), ("web", "w1", 80, 2));
        assert_eq!(service.meta["k"], "v=w");
        assert_eq!(service.tagged_addresses["lan"], ServiceAddress { address: "10.0.0.1".to_owned(), port: 81 });
        assert!(of(&["-name=web", "-port=x"]).is_err() && of(&["-name=web", "-tagged-address=lan=h:x"]).is_err());
        let why = |flag: &str| format!("invalid value \"bad\" for flag -{flag}: Missing \"=\" value in argument: bad");
        for flag in ["meta", "tagged-address"] {
            assert_eq!(of(&["-name=web", &format!("-{flag}=bad")]), Err(why(flag)));
        }
        assert_eq!(host_port("[::1]:80"), Ok(ServiceAddress { address: "::1".to_owned(), port: 80 }));
        assert_eq!(host_port("host"), Ok(ServiceAddress { address: "host".to_owned(), port: 0 }));
    }

    #[test]
    fn files_define_any_number() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("web.hcl");
        std::fs::write(&path, "service { name = \"a\" }\nservices = [{ id = \"b-1\" name = \"b\" }]").expect("a file in it");
        let path = path.display().to_string();
        let names: Vec<_> = of(&[&path]).expect("two services").into_iter().map(|service| service.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(of(&["nofile"]), Err("config: Open failed on nofile. open nofile: no such file or directory".to_owned()));
        assert!(of(&["-name=x", &path]).is_err());
    }
}
