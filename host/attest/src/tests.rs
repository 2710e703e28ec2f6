use super::*;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

fn receipt() -> Receipt {
    Receipt {
        model_identity: "1".repeat(64),
        model_sha256: "2".repeat(64),
        input_sha256: "3".repeat(64),
        output_sha256: "4".repeat(64),
        accepted: true,
        ..Receipt::default()
    }
}

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

fn sealed(statement: &Value, key: &SigningKey) -> Vec<u8> {
    let payload = serde_json::to_vec(statement).unwrap();
    serde_json::to_vec(&Envelope::seal(&payload, key)).unwrap()
}

#[test]
fn what_is_attested_comes_back() {
    let key = key();
    let envelope = attest(&receipt(), &key).unwrap();
    let bytes = serde_json::to_vec(&envelope).unwrap();
    assert_eq!(open(&bytes, &key.public()).unwrap(), receipt());
    assert_eq!(envelope.signatures[0].keyid, key.public().id());
    // A second signature, of somebody else, does no harm.
    let mut two = envelope.clone();
    two.signatures.insert(
        0,
        attest(&receipt(), &super::tests::key()).unwrap().signatures[0].clone(),
    );
    let bytes = serde_json::to_vec(&two).unwrap();
    assert_eq!(open(&bytes, &key.public()).unwrap(), receipt());
}

#[test]
fn keys_are_files_of_the_usual_form() {
    let key = key();
    let pem = key.to_pem().unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{pem}");
    let again = SigningKey::from_pem(&format!("\n{pem}\n")).unwrap();
    assert_eq!(again.public(), key.public());
    let public = key.public().to_pem().unwrap();
    assert!(
        public.starts_with("-----BEGIN PUBLIC KEY-----\n"),
        "{public}"
    );
    assert_eq!(PublicKey::from_pem(&public).unwrap(), key.public());
    assert!(SigningKey::from_pem(&public).is_err());
    assert!(PublicKey::from_pem(&pem).is_err());
    assert!(!format!("{key:?}").contains("PRIVATE"));
    assert_ne!(super::tests::key().public(), key.public());
}

#[test]
fn another_key_and_any_altered_bit_are_refused() {
    let key = key();
    let good = attest(&receipt(), &key).unwrap();
    let bytes = serde_json::to_vec(&good).unwrap();
    let other = super::tests::key().public();
    assert_eq!(
        open(&bytes, &other),
        Err(AttestError::Signature {
            signatures: 1,
            keyid: other.id()
        })
    );
    let payload = BASE64_STANDARD.decode(&good.payload).unwrap();
    for bit in 0..payload.len() * 8 {
        let mut bad = payload.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let envelope = Envelope {
            payload: BASE64_STANDARD.encode(&bad),
            ..good.clone()
        };
        assert!(matches!(
            envelope.open(&key.public()),
            Err(AttestError::Signature { .. })
        ));
    }
    let signature = BASE64_STANDARD.decode(&good.signatures[0].sig).unwrap();
    for bit in 0..signature.len() * 8 {
        let mut bad = signature.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let mut envelope = good.clone();
        envelope.signatures[0].sig = BASE64_STANDARD.encode(&bad);
        assert!(envelope.open(&key.public()).is_err(), "bit {bit}");
    }
    // The type is signed too, and there must be a signature.
    let mut envelope = good.clone();
    envelope.payload_type = "text/plain".into();
    assert!(matches!(
        envelope.open(&key.public()),
        Err(AttestError::Signature { .. })
    ));
    envelope = good.clone();
    envelope.signatures.clear();
    assert!(envelope.open(&key.public()).is_err());
    envelope = good;
    envelope.payload.push('!');
    assert!(matches!(
        envelope.open(&key.public()),
        Err(AttestError::Format(_))
    ));
    for nonsense in ["", "{}", "[]", "null"] {
        assert!(matches!(
            open(nonsense.as_bytes(), &key.public()),
            Err(AttestError::Format(_))
        ));
    }
}

#[test]
fn a_signed_statement_of_something_else_is_refused() {
    let key = key();
    let good = serde_json::to_value(Statement::of(&receipt()).unwrap()).unwrap();
    let said = |change: &dyn Fn(&mut Value)| {
        let mut statement = good.clone();
        change(&mut statement);
        open(&sealed(&statement, &key), &key.public())
    };
    assert!(said(&|_| {}).is_ok());
    let format = |r: Result<Receipt, AttestError>| matches!(r, Err(AttestError::Format(_)));
    assert!(format(said(&|s| s["_type"] = "other".into())));
    assert!(format(said(&|s| s["predicateType"] = "other".into())));
    assert!(format(said(&|s| s["predicate"] = json!({}))));
    let subject = |r| matches!(r, Err(AttestError::Subject { .. }));
    assert!(subject(said(
        &|s| s["subject"][3]["digest"]["dsperseTensorsV1"] = "5".repeat(64).into()
    )));
    assert!(subject(said(&|s| s["subject"][3]["name"] = "input".into())));
    assert!(subject(said(&|s| drop(
        s["subject"].as_array_mut().unwrap().pop()
    ))));
    assert!(subject(said(
        &|s| s["predicate"]["output_sha256"] = "5".repeat(64).into()
    )));
    assert_eq!(
        said(&|s| s["predicate"]["accepted"] = false.into()),
        Err(AttestError::NotAccepted)
    );
    let mut refused = receipt();
    refused.accepted = false;
    assert_eq!(attest(&refused, &key).err(), Some(AttestError::NotAccepted));
    // A newer major of the receipt is not read as this one.
    assert!(said(&|s| s["predicate"]["schema"] = "2.0.0".into()).is_err());
}
