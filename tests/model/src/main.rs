//! Explores the scenes and finds the planted faults. The first argument is a file for the tables, or `-`; the second a
//! part of the names of the only scenes.

use core::fmt::Write;
use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use model::engine::{Figures, Found};
use model::plants::{AS_IT_IS, PLANTS, Plant};
use model::{Scene, find, scenes};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (file, part) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let started = Instant::now();
    let mut explored = String::from(
        "| vCPUs | scene | states | transitions | longest | orders | ends |\n|---|---|---|---|---|---|---|\n",
    );
    let mut all_well = true;
    let (mut states, mut transitions) = (0, 0);
    for scene in scenes(AS_IT_IS).iter().filter(|scene| scene.name.contains(&part)) {
        match timed(scene) {
            Ok(figures) => {
                states += figures.states;
                transitions += figures.transitions;
                explored.push_str(&row(scene, &figures));
            }
            Err(found) => {
                all_well = false;
                println!("  {}", found.rule);
                found.trace.iter().for_each(|step| println!("    {step}"));
            }
        }
    }
    let mut planted = String::from(
        "| planted | scene | vCPUs | what it is found by | after states | steps to it |\n|---|---|---|---|---|---|\n",
    );
    for plant in PLANTS.iter().filter(|plant| plant.scene.contains(&part)) {
        match find(plant) {
            Some((scene, found)) => {
                println!("found: {}: {}", plant.what, found.rule);
                planted.push_str(&found_row(plant, &scene, &found));
            }
            None => {
                all_well = false;
                println!("NOT FOUND: {}", plant.what);
            }
        }
    }
    println!("{states} states, {transitions} transitions; {:.0} s", started.elapsed().as_secs_f64());
    if all_well && file.len() > 1 {
        let tables = format!("{states} states and {transitions} transitions in all.\n\n{explored}\n{planted}");
        fs::write(&file, tables).expect("the tables can be written");
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn timed(scene: &Scene) -> Result<Figures, Found> {
    let started = Instant::now();
    let outcome = scene.explore();
    let said = match &outcome {
        Ok(figures) => format!("{} states, {} transitions", figures.states, figures.transitions),
        Err(_) => String::from("BROKEN"),
    };
    println!("{} vCPUs: {}: {said}, {:.1} s", scene.vcpus, scene.name, started.elapsed().as_secs_f64());
    outcome
}

fn row(scene: &Scene, figures: &Figures) -> String {
    let Figures { states, transitions, longest, orders, ends } = figures;
    let (vcpus, name, ends) = (scene.vcpus, scene.name, ends.len());
    format!("| {vcpus} | {name} | {states} | {transitions} | {longest} | {orders:.0e} | {ends} |\n")
}

fn found_row(plant: &Plant, scene: &Scene, found: &Found) -> String {
    let mut row = String::new();
    let steps = found.trace.len();
    let _ = writeln!(
        row,
        "| {} | {} | {} | {} | {} | {steps} |",
        plant.what, scene.name, scene.vcpus, found.rule, found.states
    );
    row
}
