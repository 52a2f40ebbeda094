//! The registry as its ports show it, on a real disk. Time is moved by making files older.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use hookwright_core::port::{
    ArtifactStore, BaseImage, BlobRange, CopyInstruction, ImageBuilder, ImageConfig, ImageReference, ImageRegistry, ImageRequest,
    ImageSource, ManifestKind, NewManifest, RegistryError, Upload, UploadChunk,
};
use hookwright_core::{Blame, Digest, ImageTag, PortError, UploadId, WebhookName};
use serde_json::json;
use tempfile::TempDir;

use crate::blob::YOUNG;
use crate::{Registry, RegistryLimits};

fn open(limits: RegistryLimits) -> (TempDir, Registry) {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Registry::open_with(folder.path(), limits).expect("opened");
    (folder, registry)
}

fn registry() -> (TempDir, Registry) {
    open(RegistryLimits::default())
}

fn name(text: &str) -> WebhookName {
    WebhookName::new(text).expect("a valid name")
}

fn tag(text: &str) -> ImageReference {
    ImageReference::Tag(ImageTag::new(text).expect("a valid tag"))
}

/// A folder with these files.
fn workspace(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

fn request(workspace: &Path, copy: &[(&str, &str)]) -> ImageRequest {
    let copy = copy.iter().map(|(from, to)| CopyInstruction { source: (*from).to_owned(), destination: (*to).to_owned() });
    ImageRequest {
        webhook: name("shop"),
        tag: Some(ImageTag::new("0123456789ab").expect("a valid tag")),
        workspace: workspace.to_owned(),
        respect_ignore_files: true,
        base: BaseImage::Scratch,
        copy: copy.collect(),
        config: ImageConfig {
            command: vec!["/app/run".to_owned()],
            working_directory: "/app".to_owned(),
            environment: BTreeMap::from([("MODE".to_owned(), "test".to_owned())]),
            port: 8080,
            labels: BTreeMap::new(),
        },
    }
}

/// The files of an image as a runtime gets them, sorted.
async fn unpacked(registry: &Registry, image: &Digest) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    ImageSource::unpack(registry, image, folder.path()).await.expect("unpacked");
    let files = crate::archive::list(folder.path()).expect("listed").files;
    let files = files.into_iter().map(|path| path.to_string_lossy().into_owned()).collect();
    (folder, files)
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    crate::archive::list(folder).expect("listed").files.into_iter().map(|path| folder.join(path)).collect()
}

/// Makes everything in the registry so old that a sweep may take it.
fn let_time_pass(folder: &TempDir) {
    for path in all_files(folder.path()) {
        File::open(path).and_then(|file| file.set_modified(SystemTime::now() - 2 * YOUNG)).expect("aged");
    }
}

fn upload_into(repository: &str) -> Upload {
    let number = std::sync::atomic::AtomicU64::fetch_add(&NEXT, 1, std::sync::atomic::Ordering::Relaxed);
    let id: UploadId = format!("up_{number:032x}").parse().expect("a valid id");
    Upload { repository: name(repository), id }
}

static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

fn chunk(bytes: &[u8]) -> UploadChunk {
    let parts: Vec<_> = bytes.chunks(3).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    UploadChunk { at: None, length: None, body: Box::pin(futures_util::stream::iter(parts)) }
}

async fn push_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Digest {
    let upload = upload_into(repository);
    registry.begin_upload(&upload).await.expect("begun");
    registry.append_upload(&upload, chunk(bytes)).await.expect("appended");
    registry.finish_upload(&upload, &Digest::of(bytes)).await.expect("finished").digest
}

fn manifest_of(config: &[u8], layers: &[&[u8]], kind: ManifestKind) -> Bytes {
    let part = |bytes: &[u8]| json!({ "mediaType": "application/octet-stream", "digest": Digest::of(bytes), "size": bytes.len() });
    let layers: Vec<_> = layers.iter().map(|layer| part(layer)).collect();
    json!({ "schemaVersion": 2, "mediaType": kind.media_type(), "config": part(config), "layers": layers }).to_string().into()
}

fn oci(config: &[u8], layers: &[&[u8]], reference: ImageReference) -> NewManifest {
    NewManifest { reference, kind: ManifestKind::OciImage, bytes: manifest_of(config, layers, ManifestKind::OciImage) }
}

/// An image with one layer, pushed under a tag.
async fn push_image(registry: &Registry, repository: &str, content: &[u8], under: &str) -> Digest {
    push_blob(registry, repository, b"{}").await;
    push_blob(registry, repository, content).await;
    registry.put_manifest(&name(repository), oci(b"{}", &[content], tag(under))).await.expect("pushed").0
}

// Building.

/// Identical files give this image for ever: releases are named by it, and another daemon on another day must find the same.
/// When it changes, every unchanged webhook is deployed anew: so only on purpose.
#[tokio::test]
async fn the_digest_of_an_image_is_pinned() {
    let (_folder, registry) = registry();
    let files = workspace(&[("server.py", "print('hello')\n"), ("static/index.html", "<h1>hi</h1>\n"), ("bin/run", "#!/bin/sh\n")]);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(files.path().join("bin/run"), executable).expect("a mode");
    std::os::unix::fs::symlink("static/index.html", files.path().join("start")).expect("a link");

    let built = registry.build(&request(files.path(), &[(".", "/app")])).await.expect("built");

    let stored = registry.manifest(&name("shop"), &ImageReference::Digest(built.digest)).await.expect("read").expect("there");
    let manifest: serde_json::Value = serde_json::from_slice(&stored.bytes).expect("JSON");
    assert_eq!(manifest["layers"][0]["digest"], "sha256:665d5a6c6986a14e189b0e974a9bb33c85f93cee3fe2fa18c206591690b0cd14");
    #[cfg(target_arch = "x86_64")]
    assert_eq!(built.digest.to_string(), "sha256:e3a04d88d1e3b27714637562eb1ea7d72c0b0b692a14fd38c4a0b15a85323896");
}

#[tokio::test]
async fn an_image_leaves_out_what_the_ignore_files_say_and_the_dockerignore_wins() {
    let (_folder, registry) = registry();
    let files = [("keep.js", "1"), ("secret.env", "2"), ("node_modules/x/index.js", "3"), (".git/config", "4"), ("lib/.git/config", "5")];
    let ignored = workspace(&[&files[..], &[(".gitignore", "node_modules/\n*.env\n")]].concat());
    let built = registry.build(&request(ignored.path(), &[(".", "/app")])).await.expect("built");
    assert_eq!(unpacked(&registry, &built.digest).await.1, ["app/.gitignore", "app/keep.js"]);

    let both =
        workspace(&[&files[..], &[(".gitignore", "*\n"), (".dockerignore", "*.env\n!secret.env\n.*ignore\nnode_modules\n")]].concat());
    let built = registry.build(&request(both.path(), &[(".", "/app")])).await.expect("built");
    assert_eq!(unpacked(&registry, &built.digest).await.1, ["app/keep.js", "app/secret.env"]);

    let mut disrespectful = request(ignored.path(), &[(".", "/app")]);
    disrespectful.respect_ignore_files = false;
    let built = registry.build(&disrespectful).await.expect("built");
    assert_eq!(built.files, 4);

    let named = registry.build(&request(ignored.path(), &[(".", "/app"), ("node_modules", "/app/node_modules")])).await.expect("built");
    assert!(unpacked(&registry, &named.digest).await.1.contains(&"app/node_modules/x/index.js".to_owned()), "what is named is wanted");

    let nothing = workspace(&[("a", "1"), (".gitignore", "*\n")]);
    let refused = registry.build(&request(nothing.path(), &[(".", "/app")])).await.expect_err("nothing is left");
    assert!(refused.message.contains("the ignore file leaves all of them out"), "{refused}");
}

#[tokio::test]
async fn a_copy_of_a_folder_that_does_not_exist_names_the_nearest_existing_path() {
    let (_folder, registry) = registry();
    for (files, wanted, nearest) in [
        (&[("dist/server.js", "1"), ("package.json", "{}")][..], "dis", "`dist`"),
        (&[("target/release/shop", "1"), ("Cargo.toml", "")][..], "target/debug/shop", "`target/release/shop`"),
    ] {
        let files = workspace(files);
        let refused = registry.build(&request(files.path(), &[(wanted, "/app")])).await.expect_err("nothing there");
        assert_eq!(refused.blame, Blame::Failed);
        assert!(refused.message.contains(&format!("`copy: {wanted}` matches nothing")), "{refused}");
        assert!(refused.message.ends_with(nearest), "{refused}");
    }
}

#[tokio::test]
async fn a_chain_of_links_out_of_the_workspace_is_neither_packed_nor_put_into_an_image() {
    let (_folder, registry) = registry();
    let files = workspace(&[("a/b/c/file", "1")]);
    let link = |target: &str, place: &str| std::os::unix::fs::symlink(target, files.path().join(place)).expect("a link");
    link("../../..", "a/b/c/up");
    ArtifactStore::pack(&registry, files.path(), &["**".to_owned()]).await.expect("a link to the root of the workspace is inside");
    link("a/b/c/up/../../etc/passwd", "m");

    let leaves = |refused: PortError| {
        assert_eq!(refused.blame, Blame::Failed);
        assert!(refused.message.contains("the link `") && refused.message.contains("leads out of the workspace"), "{refused}");
    };
    leaves(ArtifactStore::pack(&registry, files.path(), &["**".to_owned()]).await.expect_err("packed together"));
    leaves(ArtifactStore::pack(&registry, files.path(), &["m".to_owned()]).await.expect_err("the other link waits in the workspace"));
    leaves(registry.build(&request(files.path(), &[(".", "/")])).await.expect_err("in one layer"));
    leaves(registry.build(&request(files.path(), &[("a", "/a"), ("m", "/m")])).await.expect_err("across layers"));
    registry.build(&request(files.path(), &[("m", "/x/y/m")])).await.expect("alone it leads to a place inside the image");
}

// Unpacking.

/// A layer out of entries: a name and its content, or `None` for a whiteout.
fn layer(entries: &[(&str, &str)]) -> Vec<u8> {
    let gzip = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for (path, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, text.as_bytes()).expect("an entry");
    }
    builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("a layer")
}

async fn push_layers(registry: &Registry, layers: &[Vec<u8>]) -> Digest {
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    push_blob(registry, "shop", b"{}").await;
    for layer in &layers {
        push_blob(registry, "shop", layer).await;
    }
    registry.put_manifest(&name("shop"), oci(b"{}", &layers, tag("latest"))).await.expect("pushed").0
}

#[tokio::test]
async fn whiteouts_of_a_layer_remove_what_lower_layers_brought_and_nothing_else() {
    let (_folder, registry) = registry();
    let image = push_layers(
        &registry,
        &[
            layer(&[("app/old", "1"), ("app/kept", "1"), ("cache/a", "1"), ("cache/sub/b", "1"), ("etc/x/y", "1")]),
            layer(&[("app/.wh.old", ""), ("cache/.wh..wh..opq", ""), ("cache/new", "2"), ("etc/.wh.x", ""), ("gone/.wh.never", "")]),
            layer(&[("app/old", "3")]),
        ],
    )
    .await;
    let (folder, files) = unpacked(&registry, &image).await;
    assert_eq!(files, ["app/kept", "app/old", "cache/new"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("app/old")).expect("a file"), "3");
}

#[tokio::test]
async fn a_whiteout_cannot_remove_what_lies_outside_the_image() {
    let (_folder, registry) = registry();
    let outside = workspace(&[("victim", "1")]);
    let gzip = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "x", outside.path()).expect("a link");
    let link = builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("a layer");
    let image = push_layers(&registry, &[link, layer(&[("x/.wh.victim", ""), ("x/.wh..wh..opq", "")])]).await;
    let _unpacked = unpacked(&registry, &image).await;
    assert!(outside.path().join("victim").exists());
}

#[tokio::test]
async fn the_limit_of_what_is_unpacked_holds_for_the_whole_image_and_the_error_says_it() {
    let (_folder, registry) = open(RegistryLimits { unpacked: 10_000, ..RegistryLimits::default() });
    let small = "x".repeat(4000);
    let one = push_layers(&registry, &[layer(&[("a", &small)])]).await;
    unpacked(&registry, &one).await;
    let two = push_layers(&registry, &[layer(&[("a", &small)]), layer(&[("b", &small)])]).await;

    let folder = tempfile::tempdir().expect("a folder");
    let refused = ImageSource::unpack(&registry, &two, folder.path()).await.expect_err("more than the limit");
    assert_eq!(refused.blame, Blame::Failed);
    assert_eq!(refused.message, "the image unpacks to more than 10000 bytes, which is the limit; leave some files out");

    let (_folder, registry) = open(RegistryLimits { entries: 3, ..RegistryLimits::default() });
    let many = push_layers(&registry, &[layer(&[("a", ""), ("b", "")]), layer(&[("c", ""), ("d", "")])]).await;
    let refused = ImageSource::unpack(&registry, &many, folder.path()).await.expect_err("more than the limit");
    assert!(refused.message.contains("more than 3 files"), "{refused}");
}

#[tokio::test]
async fn a_layer_that_was_cut_off_is_an_error_and_not_a_smaller_image() {
    let (_folder, registry) = registry();
    let whole = layer(&[("a", &"content ".repeat(1000)), ("b", "2")]);
    let image = push_layers(&registry, &[whole[..whole.len() / 2].to_vec()]).await;
    let folder = tempfile::tempdir().expect("a folder");
    assert!(ImageSource::unpack(&registry, &image, folder.path()).await.is_err());
}

// Uploads.

#[tokio::test]
async fn an_upload_in_chunks_becomes_a_blob_of_its_repository_alone() {
    let (_folder, registry) = registry();
    let upload = upload_into("shop");
    registry.begin_upload(&upload).await.expect("begun");
    assert_eq!(registry.append_upload(&upload, chunk(b"hello ")).await.expect("appended"), 6);
    let next = UploadChunk { at: Some(6), length: Some(5), ..chunk(b"world") };
    assert_eq!(registry.append_upload(&upload, next).await.expect("appended"), 11);
    assert_eq!(registry.upload_size(&upload).await.expect("known"), 11);
    let digest = Digest::of(b"hello world");
    registry.finish_upload(&upload, &digest).await.expect("finished");

    assert_eq!(registry.blob_size(&name("shop"), &digest).await.expect("read"), Some(11));
    assert_eq!(registry.blob_size(&name("other"), &digest).await.expect("read"), None, "knowing a digest opens nothing");
    let read = registry.read_blob(&name("other"), &digest, BlobRange { start: 0, length: 11 }).await;
    assert!(matches!(read, Err(RegistryError::BlobUnknown(_))));
    let stream = registry.read_blob(&name("shop"), &digest, BlobRange { start: 6, length: 3 }).await.expect("read");
    let bytes: Vec<u8> = stream.map(|part| part.expect("bytes")).collect::<Vec<_>>().await.concat();
    assert_eq!(bytes, b"wor");
    assert!(matches!(registry.upload_size(&upload).await, Err(RegistryError::UploadUnknown)));
}

#[tokio::test]
async fn a_chunk_at_the_wrong_place_or_of_the_wrong_length_adds_nothing() {
    let (_folder, registry) = registry();
    let upload = upload_into("shop");
    registry.begin_upload(&upload).await.expect("begun");
    registry.append_upload(&upload, chunk(b"hello ")).await.expect("appended");
    for at in [0, 5, 7] {
        let refused = registry.append_upload(&upload, UploadChunk { at: Some(at), ..chunk(b"world") }).await;
        assert!(matches!(refused, Err(RegistryError::UploadRange { size: 6 })), "{at}: {refused:?}");
    }
    for length in [4, 6] {
        let refused = registry.append_upload(&upload, UploadChunk { length: Some(length), ..chunk(b"world") }).await;
        assert!(matches!(refused, Err(RegistryError::ChunkLength { found: 5, .. })), "{length}: {refused:?}");
    }
    // So long that parts of it were written before the end was seen.
    let part = Bytes::from(vec![b'x'; 1 << 20]);
    let body = Box::pin(futures_util::stream::iter([part.clone(), part.clone(), part].map(Ok)));
    let refused = registry.append_upload(&upload, UploadChunk { at: None, length: Some(9), body }).await;
    assert!(matches!(refused, Err(RegistryError::ChunkLength { expected: 9, .. })), "{refused:?}");
    registry.append_upload(&upload, chunk(b"world")).await.expect("appended");
    registry.finish_upload(&upload, &Digest::of(b"hello world")).await.expect("what was refused left nothing behind");
}

#[tokio::test]
async fn an_upload_with_another_digest_is_refused_and_removed() {
    let (folder, registry) = registry();
    let upload = upload_into("shop");
    registry.begin_upload(&upload).await.expect("begun");
    registry.append_upload(&upload, chunk(b"hello")).await.expect("appended");
    let refused = registry.finish_upload(&upload, &Digest::of(b"other")).await;
    assert!(matches!(refused, Err(RegistryError::DigestMismatch { .. })), "{refused:?}");
    assert_eq!(all_files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_upload_that_grows_too_large_is_refused_and_removed() {
    let (folder, registry) = open(RegistryLimits { blob: 10, ..RegistryLimits::default() });
    for length in [None, Some(11)] {
        let upload = upload_into("shop");
        registry.begin_upload(&upload).await.expect("begun");
        let refused = registry.append_upload(&upload, UploadChunk { length, ..chunk(b"eleven byte") }).await.expect_err("too large");
        assert_eq!(refused.to_string(), "a blob may have 10 bytes at most");
        assert_eq!(all_files(folder.path()), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart_and_after_a_connection_that_broke() {
    let (folder, registry) = registry();
    let upload = upload_into("shop");
    registry.begin_upload(&upload).await.expect("begun");
    let broken = vec![Ok(Bytes::from_static(b"hello")), Err(std::io::Error::other("gone"))];
    let broken = UploadChunk { at: None, length: None, body: Box::pin(futures_util::stream::iter(broken)) };
    assert!(matches!(registry.append_upload(&upload, broken).await, Err(RegistryError::Interrupted)));
    assert_eq!(registry.upload_size(&upload).await.expect("known"), 5);

    drop(registry);
    let registry = Registry::open(folder.path()).expect("opened again");
    registry.append_upload(&upload, UploadChunk { at: Some(5), ..chunk(b" world") }).await.expect("appended");
    registry.finish_upload(&upload, &Digest::of(b"hello world")).await.expect("the hash knows what came before");
}

#[tokio::test]
async fn two_requests_do_not_write_to_one_upload_at_once() {
    let (_folder, registry) = registry();
    let upload = upload_into("shop");
    registry.begin_upload(&upload).await.expect("begun");
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = futures_util::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|bytes| (Ok(bytes), receiver)));
    let first = tokio::spawn({
        let (registry, upload) = (registry.clone(), upload.clone());
        async move { registry.append_upload(&upload, UploadChunk { at: None, length: None, body: Box::pin(body) }).await }
    });
    sender.send(Bytes::from_static(b"first")).await.expect("sent");
    // The channel holds one message: when the second is in it, the first was taken by who has the lock.
    sender.send(Bytes::from_static(b"second")).await.expect("sent");
    let refused = registry.append_upload(&upload, chunk(b"intruder")).await;
    assert!(matches!(refused, Err(RegistryError::UploadBusy)), "{refused:?}");
    drop(sender);
    assert_eq!(first.await.expect("it ends").expect("appended"), 11);
    registry.finish_upload(&upload, &Digest::of(b"firstsecond")).await.expect("nothing of the intruder is in it");
}

#[tokio::test]
async fn abandoned_uploads_are_swept_and_only_so_many_may_be_open() {
    let (folder, registry) = open(RegistryLimits { uploads: 2, ..RegistryLimits::default() });
    let (one, two, three) = (upload_into("shop"), upload_into("shop"), upload_into("shop"));
    registry.begin_upload(&one).await.expect("begun");
    registry.append_upload(&one, chunk(b"hello")).await.expect("appended");
    registry.begin_upload(&two).await.expect("begun");
    assert!(matches!(registry.begin_upload(&three).await, Err(RegistryError::UploadsExhausted { limit: 2 })));

    registry.sweep(&HashSet::new()).await.expect("swept");
    assert_eq!(registry.upload_size(&one).await.expect("young uploads stay"), 5);
    let_time_pass(&folder);
    registry.append_upload(&two, chunk(b"still here")).await.expect("appended");
    registry.sweep(&HashSet::new()).await.expect("swept");
    assert!(matches!(registry.append_upload(&one, chunk(b" world")).await, Err(RegistryError::UploadUnknown)));
    registry.begin_upload(&three).await.expect("there is room again");
    registry.finish_upload(&two, &Digest::of(b"still here")).await.expect("somebody went on with it");
}

#[tokio::test]
async fn a_canceled_upload_is_gone() {
    let (folder, registry) = registry();
    let upload = upload_into("shop");
    registry.begin_upload(&upload).await.expect("begun");
    let elsewhere = Upload { repository: name("other"), id: upload.id };
    assert!(matches!(registry.cancel_upload(&elsewhere).await, Err(RegistryError::UploadUnknown)), "it belongs to its repository");
    registry.cancel_upload(&upload).await.expect("canceled");
    assert!(matches!(registry.cancel_upload(&upload).await, Err(RegistryError::UploadUnknown)));
    assert_eq!(all_files(folder.path()), Vec::<PathBuf>::new());
}

// Manifests and tags.

#[tokio::test]
async fn a_manifest_needs_its_parts_in_its_own_repository() {
    let (_folder, registry) = registry();
    push_image(&registry, "shop", b"layer", "latest").await;
    push_blob(&registry, "other", b"{}").await;

    let refused = registry.put_manifest(&name("other"), oci(b"{}", &[b"layer"], tag("latest"))).await;
    assert!(matches!(refused, Err(RegistryError::ManifestBlobUnknown(part)) if part == Digest::of(b"layer")), "{refused:?}");
    assert_eq!(registry.tags(&name("other")).await.expect("read"), None);

    assert!(!registry.mount_blob(&name("other"), &name("nobody"), &Digest::of(b"layer")).await.expect("looked"));
    assert!(registry.mount_blob(&name("other"), &name("shop"), &Digest::of(b"layer")).await.expect("mounted"));
    registry.put_manifest(&name("other"), oci(b"{}", &[b"layer"], tag("latest"))).await.expect("pushed");
    let names: Vec<_> = registry.repositories().await.expect("listed");
    assert_eq!(names, [name("other"), name("shop")]);
}

#[tokio::test]
async fn a_manifest_with_another_digest_another_size_or_too_many_bytes_is_refused() {
    let (_folder, registry) = open(RegistryLimits { manifest: 600, ..RegistryLimits::default() });
    push_image(&registry, "shop", b"layer", "latest").await;
    let shop = name("shop");

    let elsewhere = ImageReference::Digest(Digest::of(b"something else"));
    let refused = registry.put_manifest(&shop, oci(b"{}", &[b"layer"], elsewhere)).await;
    assert!(matches!(refused, Err(RegistryError::DigestMismatch { .. })), "{refused:?}");

    let text = String::from_utf8(manifest_of(b"{}", &[b"layer"], ManifestKind::OciImage).to_vec()).expect("text");
    let bytes = text.replace("\"size\":5", "\"size\":6").into();
    let refused = registry.put_manifest(&shop, NewManifest { reference: tag("x"), kind: ManifestKind::OciImage, bytes }).await;
    assert!(matches!(&refused, Err(RegistryError::ManifestInvalid(text)) if text.contains("has 6 bytes, but it has 5")), "{refused:?}");

    let bytes = format!("{text}{}", " ".repeat(600)).into();
    let refused = registry.put_manifest(&shop, NewManifest { reference: tag("x"), kind: ManifestKind::OciImage, bytes }).await;
    assert!(matches!(refused, Err(RegistryError::TooLarge { what: "a manifest", limit: 600 })), "{refused:?}");
}

#[tokio::test]
async fn tags_move_and_a_manifest_goes_with_its_tags() {
    let (_folder, registry) = registry();
    let shop = name("shop");
    let first = push_image(&registry, "shop", b"one", "latest").await;
    let second = push_image(&registry, "shop", b"two", "latest").await;
    push_image(&registry, "shop", b"two", "v2").await;
    let latest = registry.manifest(&shop, &tag("latest")).await.expect("read").expect("there");
    assert_eq!(latest.digest, second);
    assert!(registry.manifest(&shop, &ImageReference::Digest(first)).await.expect("read").is_some());

    assert!(registry.remove_manifest(&shop, &tag("v2")).await.expect("removed"));
    assert!(!registry.remove_manifest(&shop, &tag("v2")).await.expect("looked"));
    assert!(registry.remove_manifest(&shop, &ImageReference::Digest(second)).await.expect("removed"));
    assert_eq!(registry.tags(&shop).await.expect("read"), Some(vec![]));
    assert!(registry.manifest(&shop, &ImageReference::Digest(second)).await.expect("read").is_none());
}

#[tokio::test]
async fn a_manifest_about_another_one_is_found_by_it() {
    let (_folder, registry) = registry();
    let image = push_image(&registry, "shop", b"layer", "latest").await;
    let text = String::from_utf8(manifest_of(b"{}", &[], ManifestKind::OciImage).to_vec()).expect("text");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    value["subject"] = json!({ "mediaType": ManifestKind::OciImage.media_type(), "digest": image, "size": 1 });
    value["artifactType"] = json!("application/vnd.example.signature");
    value["annotations"] = json!({ "by": "rosa" });
    let bytes = Bytes::from(value.to_string());
    let reference = ImageReference::Digest(Digest::of(&bytes));
    let new = NewManifest { reference, kind: ManifestKind::OciImage, bytes };
    assert_eq!(registry.put_manifest(&name("shop"), new).await.expect("pushed").1, Some(image));

    let found = registry.referrers(&name("shop"), &image).await.expect("read");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].artifact_type.as_deref(), Some("application/vnd.example.signature"));
    assert_eq!(found[0].annotations["by"], "rosa");
    assert_eq!(registry.referrers(&name("other"), &image).await.expect("read"), []);
}

// Sweeping.

#[tokio::test]
async fn a_sweep_keeps_what_tags_and_the_engine_need_and_takes_the_rest() {
    let (folder, registry) = registry();
    let shop = name("shop");
    let tagged = push_image(&registry, "shop", b"tagged", "latest").await;
    let untagged = push_image(&registry, "shop", b"untagged", "gone").await;
    let deployed = push_image(&registry, "shop", b"deployed", "gone").await;
    registry.remove_manifest(&shop, &tag("gone")).await.expect("removed");
    let list = json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": ManifestKind::OciImage.media_type(), "digest": tagged, "size": registry.manifest(&shop, &tag("latest")).await.expect("read").expect("there").bytes.len() }],
    });
    let listed = NewManifest { reference: tag("all"), kind: ManifestKind::OciIndex, bytes: list.to_string().into() };
    registry.put_manifest(&shop, listed).await.expect("pushed");
    registry.remove_manifest(&shop, &tag("latest")).await.expect("removed");
    let packed = ArtifactStore::pack(&registry, workspace(&[("a", "1")]).path(), &["**".to_owned()]).await.expect("packed");
    let lost = push_blob(&registry, "shop", b"nobody names it").await;

    let keep = HashSet::from([deployed, packed.digest]);
    registry.sweep(&keep).await.expect("swept");
    assert_eq!(registry.blob_size(&shop, &lost).await.expect("read"), Some(15), "what is young stays");
    let_time_pass(&folder);
    let freed = registry.sweep(&keep).await.expect("swept");

    assert!(freed >= 15 + 8);
    for digest in [Digest::of(b"tagged"), Digest::of(b"deployed"), Digest::of(b"{}")] {
        assert!(registry.blob_size(&shop, &digest).await.expect("read").is_some(), "{digest}");
    }
    for digest in [lost, Digest::of(b"untagged")] {
        assert_eq!(registry.blob_size(&shop, &digest).await.expect("read"), None);
        assert!(!registry.blobs.path(&digest).exists());
    }
    assert!(registry.manifest(&shop, &ImageReference::Digest(tagged)).await.expect("read").is_some(), "the list needs it");
    assert!(registry.manifest(&shop, &ImageReference::Digest(deployed)).await.expect("read").is_some());
    assert!(registry.manifest(&shop, &ImageReference::Digest(untagged)).await.expect("read").is_none());
    assert!(ArtifactStore::open(&registry, &packed.digest).await.expect("read").is_some());
}

#[tokio::test]
async fn an_image_that_is_deployed_outlives_the_removal_of_its_manifest() {
    let (folder, registry) = registry();
    let files = workspace(&[("server.py", "1")]);
    let built = registry.build(&request(files.path(), &[(".", "/app")])).await.expect("built");
    registry.remove_manifest(&name("shop"), &ImageReference::Digest(built.digest)).await.expect("removed");
    let_time_pass(&folder);
    registry.sweep(&HashSet::from([built.digest])).await.expect("swept");
    assert_eq!(unpacked(&registry, &built.digest).await.1, ["app/server.py"]);
}

#[tokio::test]
async fn what_a_client_was_told_is_there_is_still_there_when_it_names_it() {
    let (folder, registry) = registry();
    let shop = name("shop");
    push_image(&registry, "shop", b"layer", "latest").await;
    let image = registry.manifest(&shop, &tag("latest")).await.expect("read").expect("there");
    registry.remove_manifest(&shop, &tag("latest")).await.expect("removed");
    let_time_pass(&folder);
    // The client sees that both parts and the manifest are there and does not send them again.
    assert!(registry.manifest(&shop, &ImageReference::Digest(image.digest)).await.expect("read").is_some());
    registry.sweep(&HashSet::new()).await.expect("swept");
    let again = NewManifest { reference: tag("again"), kind: image.kind, bytes: image.bytes };
    registry.put_manifest(&shop, again).await.expect("its parts were kept");

    let blob = push_blob(&registry, "shop", b"seen").await;
    let_time_pass(&folder);
    assert!(registry.blob_size(&shop, &blob).await.expect("read").is_some());
    registry.sweep(&HashSet::new()).await.expect("swept");
    registry.put_manifest(&shop, oci(b"{}", &[b"seen"], tag("seen"))).await.expect("the blob was kept");
}

#[tokio::test]
async fn a_sweep_reads_manifests_and_never_what_is_large() {
    let (folder, registry) = open(RegistryLimits { manifest: 1000, ..RegistryLimits::default() });
    // It looks like the manifest of an image that needs a blob, but is longer than manifests may be.
    let blob = push_blob(&registry, "shop", b"old").await;
    let text = json!({ "schemaVersion": 2, "layers": [{ "digest": blob, "size": 3 }], "filler": "x".repeat(1000) }).to_string();
    let short = text.replace(&"x".repeat(1000), "");
    let (long, short) = (registry.blobs.put(text.as_bytes()).expect("stored"), registry.blobs.put(short.as_bytes()).expect("stored"));
    assert!(registry.reach([long.digest], None).expect("reached").len() == 1);
    assert!(registry.reach([short.digest], None).expect("reached").contains(&blob));
    let_time_pass(&folder);
    registry.sweep(&HashSet::from([long.digest])).await.expect("swept");
    assert!(!registry.blobs.path(&blob).exists());
}

#[tokio::test]
async fn what_a_crash_left_in_the_registry_is_not_served_and_is_swept() {
    let (folder, registry) = registry();
    let digest = push_image(&registry, "shop", b"layer", "latest").await;
    for left in ["blobs/.tmpA", "repositories/shop/tags/.tmpB", "repositories/shop/blobs/.tmpC", "repositories/shop/manifests/.tmpD"] {
        std::fs::write(folder.path().join(left), "half").expect("written");
    }
    let registry = {
        drop(registry);
        Registry::open(folder.path()).expect("opened again")
    };
    assert_eq!(registry.tags(&name("shop")).await.expect("read"), Some(vec![ImageTag::new("latest").expect("a tag")]));
    registry.sweep(&HashSet::new()).await.expect("swept");
    assert!(folder.path().join("blobs/.tmpA").exists(), "somebody may be writing it");
    let_time_pass(&folder);
    registry.sweep(&HashSet::new()).await.expect("swept");
    let left = all_files(folder.path())
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp")))
        .count();
    assert_eq!(left, 0);
    assert_eq!(registry.manifest(&name("shop"), &tag("latest")).await.expect("read").expect("there").digest, digest);
}
