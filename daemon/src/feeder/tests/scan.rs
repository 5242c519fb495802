use std::os::unix::fs::symlink;

use super::super::{RefusedFile, SeedRefusal, scan};
use super::*;

fn reason(dir: &TempDir, name: &str) -> String {
    let scan = scan(dir.path(), SERVER).unwrap();
    let refused = scan.refused.iter().find(|refused| refused.path.ends_with(name));
    refused.unwrap_or_else(|| panic!("{name} is refused")).reason.to_string()
}

#[test]
fn good_files_are_accepted_by_shard_whatever_their_names() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(2, 300));
    write_seed(&dir, "b.hbs", &header(0, 1));
    write_seed(&dir, "c.hbs", &header(1, 255));
    let scan = scan(dir.path(), SERVER).unwrap();
    assert_eq!(scan.campaign, Some(CAMPAIGN));
    assert_eq!(
        scan.accepted.iter().map(|file| file.header).collect::<Vec<_>>(),
        [header(0, 1), header(1, 255), header(2, 300)]
    );
    assert!(scan.refused.is_empty());
}

#[test]
fn a_bad_file_is_refused_with_its_reason_and_the_others_are_kept() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "good.hbs", &header(0, 300));
    let mut flipped = seed_bytes(&header(1, 300));
    flipped[24] ^= 1;
    write_file(&dir, "flipped.hbs", &flipped);
    let whole = seed_bytes(&header(2, 300));
    write_file(&dir, "cut.hbs", &whole[..whole.len() - 1]);
    write_file(&dir, "stub.hbs", &whole[..100]);
    write_file(&dir, "nothing.hbs", &[]);
    write_file(&dir, "long.hbs", &[&whole[..], b"x"].concat());
    write_file(&dir, "noise.hbs", &[0xAB; 3 * BLOCK_BYTES]);
    let mut foreign = header(3, 10);
    foreign.binding.server = ServerId(8);
    write_seed(&dir, "foreign.hbs", &foreign);
    write_seed(&dir, "empty.hbs", &header(4, 0));

    assert!(reason(&dir, "flipped.hbs").contains("offset 0): checksum"));
    assert_eq!(reason(&dir, "cut.hbs"), "cut in block 2 (offset 12287 of 12288): copy it again");
    assert!(reason(&dir, "stub.hbs").starts_with("cut in block 0 (offset 100 of 4096)"));
    assert!(reason(&dir, "nothing.hbs").starts_with("cut in block 0 (offset 0 of 4096)"));
    assert!(reason(&dir, "long.hbs").starts_with("12289 bytes long where its header allows 12288"));
    assert!(reason(&dir, "noise.hbs").contains("not a seed file"));
    assert_eq!(reason(&dir, "foreign.hbs"), "made for server 8, and this is server 7");
    assert!(reason(&dir, "empty.hbs").contains("counts no envelope"));
    let scan = scan(dir.path(), SERVER).unwrap();
    assert_eq!((scan.accepted.len(), scan.refused.len()), (1, 8));
    assert!(scan.accepted[0].path.ends_with("good.hbs"));
}

#[test]
fn a_copy_of_a_shard_is_not_dealt_twice() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(5, 10));
    write_seed(&dir, "b.hbs", &header(5, 10));
    let scan = scan(dir.path(), SERVER).unwrap();
    assert!(scan.accepted[0].path.ends_with("a.hbs"));
    assert!(
        matches!(&scan.refused[..], [RefusedFile { path, reason: SeedRefusal::Duplicate { shard: ShardId(5), first } }]
        if path.ends_with("b.hbs") && first.ends_with("a.hbs"))
    );
}

#[test]
fn a_stray_file_of_another_campaign_does_not_displace_the_show() {
    let dir = TempDir::new().unwrap();
    let mut stray = header(0, 10);
    stray.binding.campaign = CampaignId(1);
    write_seed(&dir, "a-stray.hbs", &stray);
    write_seed(&dir, "show.hbs", &header(0, 11));
    let scan = scan(dir.path(), SERVER).unwrap();
    assert_eq!(scan.campaign, Some(CAMPAIGN));
    assert!(scan.accepted[0].path.ends_with("show.hbs"));
    assert_eq!(reason(&dir, "a-stray.hbs"), "of campaign 1; the directory's files are dealt for campaign 2015");
}

#[test]
fn at_a_tie_of_campaigns_the_lower_number_is_dealt() {
    let dir = TempDir::new().unwrap();
    let mut other = header(0, 10);
    other.binding.campaign = CampaignId(CAMPAIGN.0 + 1);
    write_seed(&dir, "a.hbs", &other);
    write_seed(&dir, "b.hbs", &header(0, 10));
    assert_eq!(scan(dir.path(), SERVER).unwrap().campaign, Some(CAMPAIGN));
}

#[test]
fn headers_that_promise_more_than_can_be_counted_overflow_nothing() {
    let dir = TempDir::new().unwrap();
    for shard in 0..3 {
        write_seed(&dir, &format!("{shard}.hbs"), &Header { total: Cents(u64::MAX / 2), ..header(shard, 10) });
    }
    let scan = scan(dir.path(), SERVER).unwrap();
    assert_eq!((scan.accepted.len(), scan.refused.len()), (2, 1));
    assert!(matches!(scan.refused[0].reason, SeedRefusal::TooMuchMoney(_)));
}

#[test]
fn what_is_no_seed_file_is_passed_over() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 10));
    write_file(&dir, "notes.txt", b"hello");
    std::fs::create_dir(dir.path().join("folder.hbs")).unwrap();
    symlink("loop.hbs", dir.path().join("loop.hbs")).unwrap();
    symlink("nowhere", dir.path().join("dangling.hbs")).unwrap();
    symlink(".", dir.path().join("here")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("pipe.hbs"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let scan = scan(dir.path(), SERVER).unwrap();
    assert_eq!((scan.accepted.len(), scan.refused.len()), (1, 0));
}

#[test]
fn a_link_to_a_seed_file_is_one() {
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let target = write_seed(&elsewhere, "a.hbs", &header(0, 10));
    symlink(target, dir.path().join("link.hbs")).unwrap();
    assert_eq!(scan(dir.path(), SERVER).unwrap().accepted.len(), 1);
}

#[test]
fn a_missing_directory_is_named() {
    let dir = TempDir::new().unwrap();
    let failure = scan(&dir.path().join("seeds"), SERVER).unwrap_err();
    assert_eq!(failure.exit, crate::exit::Exit::Unavailable);
    assert!(failure.message.contains("seeds"), "{failure}");
}
